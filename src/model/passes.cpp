// The passes of a model: forward from tokens to the loss, backward in reverse, and generation.
//
// dx is the gradient of the residual stream: it flows through every block in place, and each norm adds its part. A
// linear's weight gradient is overwritten by the first micro-batch of a step and added to by the others; what is
// accumulated element by element (norms, biases, an untied embedding) is zeroed when backward of the first reaches its
// layer.
#include <algorithm>

#include "bittern/token_order.h"
#include "model/body.h"

namespace bittern {

void Transformer::Body::upload(TensorId to, std::span<const std::int32_t> ids) const {
  const std::int64_t V = spec.vocab_size;
  for (std::size_t n = 0; n < ids.size(); ++n)
    check(ids[n] >= 0 && ids[n] < V, "model: token {} of row {} is outside the vocabulary; expected 0 to {}", ids[n], n,
          V - 1);
  backend.from_host(arena->view(to).data, ids.data(), static_cast<std::int64_t>(ids.size_bytes()));
}

void Transformer::Body::need_head() const {
  need(head_bucket());
  if (spec.tie_word_embeddings) need(embedding_bucket());
}

void Transformer::Body::done_head() const {
  done(head_bucket());
  if (spec.tie_word_embeddings) done(embedding_bucket());
}

void Transformer::Body::block_forward(int layer, const Pass& pass, Flow& flow, bool recomputing) const {
  const PartContext c = context();
  const Block& block = layers.blocks[static_cast<std::size_t>(layer)];
  for (const Part& part : block) {
    // Backward makes the input of the last product again, and does not need what it gives.
    const bool output_wanted = !recomputing || &part != &block.back();
    std::visit([&](const auto& of) { of.forward(c, pass, flow, output_wanted); }, part);
  }
}

Tensor Transformer::Body::forward(const Pass& pass) {
  const PartContext c = context();
  // All of generation is one point, which next_logits has reached before it sent the tokens.
  const auto at = [&](Point point) {
    if (!pass.generation) reach(point);
  };
  at(timeline.embedding());
  need(embedding_bucket());
  Flow flow{.x = first_stream(0).x(c, pass), .out = {}, .n = {}};
  Tensor ids = arena->view(pass.generation ? generation_tokens : tokens);
  ids.shape = Shape{pass.rows()};
  backend.embedding_forward(
      {.out = flow.x, .w = c.weight(layers.embedding), .tokens = ids, .scale = embedding_scale(spec, options.compute)});
  done(embedding_bucket());
  for (int layer = 0; layer < layer_count(); ++layer) {
    at(timeline.forward(layer));
    need(layer);
    block_forward(layer, pass, flow, false);
    done(layer);
  }
  at(timeline.head());
  need_head();
  layers.final_norm.forward(c, pass, flow, true);
  return flow.n;
}

void Transformer::Body::block_backward(int layer, BackwardFlow flow) const {
  const PartContext c = context();
  const Pass pass = whole_pass();
  if (options.recompute_blocks) {
    Flow again{.x = first_stream(layer).x(c, pass), .out = {}, .n = {}};
    block_forward(layer, pass, again, true);
  }
  const Block& block = layers.blocks[static_cast<std::size_t>(layer)];
  for (std::size_t i = block.size(); i-- > 0;) {
    if (const auto* stream = i > 0 ? std::get_if<Stream>(&block[i - 1]) : nullptr) flow.n = stream->n(c, pass);
    std::visit([&](const auto& part) { part.backward(c, pass, flow); }, block[i]);
  }
}

void Transformer::Body::zero_gradients(int layer, Role role) const {
  for (const Parameter& parameter : parameters.all())
    if (parameter.spec.layer == layer && parameter.spec.role == role)
      backend.zero({.x = arena->view(parameter.gradient)});
}

void Transformer::Body::backward(const BackwardFlow& flow) {
  const PartContext c = context();
  backend.zero({.x = flow.dx});
  if (!flow.accumulate) zero_gradients(-1, Role::norm);
  layers.final_norm.backward(c, whole_pass(), flow);
  done_head();
  gradients(head_bucket());
  for (int layer = layer_count() - 1; layer >= 0; --layer) {
    reach(timeline.backward(layer));
    need(layer);
    if (!flow.accumulate) zero_gradients(layer, Role::norm);
    block_backward(layer, flow);
    done(layer);
    gradients(layer);
  }
  reach(timeline.embedding_gradient());
  if (!flow.accumulate && !spec.tie_word_embeddings) zero_gradients(-1, Role::embedding);
  Tensor ids = arena->view(tokens);
  ids.shape = Shape{flow.dx.rows()};
  backend.embedding_backward({.dw = c.gradient(layers.embedding),
                              .dout = flow.dx,
                              .tokens = ids,
                              .order = arena->view(order),
                              .scale = embedding_scale(spec, options.compute)});
  gradients(embedding_bucket());
}

void Transformer::forward_backward(const MicroBatch& batch, const Tensor& sums, bool first) {
  Body& m = *body_;
  check(m.options.training, "model: planned without gradients");
  upload(batch.tokens, batch.targets);
  std::vector<std::int32_t> made;
  if (batch.order.empty()) made = token_order(batch.tokens, m.spec.vocab_size);
  const std::span<const std::int32_t> order = batch.order.empty() ? made : batch.order;
  check(static_cast<std::int64_t>(order.size()) == token_order_size(m.whole_pass().rows()),
        "model: a token order of {} numbers; expected {}", order.size(), token_order_size(m.whole_pass().rows()));
  m.backend.from_host(m.arena->view(m.order).data, order.data(), static_cast<std::int64_t>(order.size_bytes()));
  m.head.upload_scale(m.context(), batch.total_targets);
  const Tensor n = m.forward(m.whole_pass());
  const BackwardFlow flow{.dx = m.arena->view(m.dx), .dn = m.arena->view(m.dn), .n = {}, .accumulate = !first};
  m.head.loss(m.context(), n, flow, sums, m.options.z_loss, true);
  m.backward(flow);
}

void Transformer::upload(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets) {
  Body& m = *body_;
  check(static_cast<std::int64_t>(tokens.size()) == m.whole_pass().rows(), "model: {} tokens for a micro-batch of {}",
        tokens.size(), m.whole_pass().rows());
  m.upload(m.tokens, tokens);
  if (!targets.empty()) m.head.upload_targets(m.context(), targets);
}

LossSums Transformer::forward(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets) {
  Body& m = *body_;
  upload(tokens, targets);
  const LossSums sums = m.head.evaluate(m.context(), m.forward(m.whole_pass()), m.options.z_loss);
  m.done_head();
  return sums;
}

std::vector<float> Transformer::logits(std::span<const std::int32_t> tokens) {
  Body& m = *body_;
  upload(tokens, {});
  std::vector<float> all = m.head.logits(m.context(), m.whole_pass(), m.forward(m.whole_pass()));
  m.done_head();
  return all;
}

std::vector<float> Transformer::next_logits(std::span<const std::int32_t> tokens, std::int64_t first_position) {
  Body& m = *body_;
  const auto count = static_cast<std::int64_t>(tokens.size());
  check(count > 0 && first_position + count <= m.options.cache_length,
        "generation: positions {}..{} do not fit a cache of {}", first_position, first_position + count,
        m.options.cache_length);
  const std::int64_t capacity = m.arena->view(m.generation_tokens).elements();
  m.reach(m.timeline.generation());
  std::vector<float> last;
  for (std::int64_t done = 0; done < count;) {
    const Pass pass{.batch = 1,
                    .sequence_length = std::min(capacity, count - done),
                    .first_position = first_position + done,
                    .generation = true};
    m.upload(m.generation_tokens,
             tokens.subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(pass.rows())));
    const Tensor n = m.forward(pass);
    done += pass.rows();
    if (done == count) last = m.head.logits(m.context(), pass, n.slice_rows(pass.rows() - 1, 1));
    m.done_head();
  }
  return last;
}

}  // namespace bittern
