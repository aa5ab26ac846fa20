// The forward pass, the head with its loss, and generation.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "bittern/model.h"

namespace bittern {

AttentionShape Transformer::attention_shape(const Pass& pass) const {
  return {.batch = pass.batch,
          .sequence_length = pass.sequence_length,
          .heads = spec_.num_attention_heads,
          .kv_heads = spec_.num_key_value_heads,
          .head_dim = spec_.head_dim};
}

QkNormRopeForward Transformer::rope_args(int layer, const BlockActivations& a, const Pass& pass) const {
  const BlockWeights& w = weights_[static_cast<std::size_t>(layer)];
  return {.shape = attention_shape(pass),
          .qkv = rows(a.qkv, pass.rows()),
          .qkv_raw = rows(a.qkv_raw, pass.rows()),
          .q_norm = weight(w.q_norm),
          .k_norm = weight(w.k_norm),
          .q_norm_rstd = rows(a.q_norm_rstd, pass.rows()),
          .rope = arena_->view(rope_),
          .first_position = pass.first_position,
          .eps = static_cast<float>(spec_.rms_norm_eps)};
}

void Transformer::upload(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets) {
  const Tensor to = arena_->view(tokens_), goal = arena_->view(targets_);
  check(static_cast<std::int64_t>(tokens.size()) == to.elements(), "model: {} tokens for a micro-batch of {}",
        tokens.size(), to.elements());
  check_tokens(tokens);
  check_targets(targets);
  backend_.from_host(to.data, tokens.data(), to.bytes());
  if (!targets.empty()) backend_.from_host(goal.data, targets.data(), goal.bytes());
}

void Transformer::check_tokens(std::span<const std::int32_t> tokens) const {
  const std::int64_t V = spec_.vocab_size;
  for (std::size_t n = 0; n < tokens.size(); ++n)
    check(tokens[n] >= 0 && tokens[n] < V, "model: token {} of row {} is outside the vocabulary; expected 0 to {}",
          tokens[n], n, V - 1);
}

void Transformer::check_targets(std::span<const std::int32_t> targets) const {
  const std::int64_t V = spec_.vocab_size;
  for (std::size_t n = 0; n < targets.size(); ++n)
    check(targets[n] >= -1 && targets[n] < V,
          "model: target {} of row {} is outside the vocabulary; expected 0 to {}, or -1 to ignore the row", targets[n],
          n, V - 1);
}

void Transformer::block_forward(int layer, const BlockActivations& a, const Pass& pass, bool for_backward) {
  const BlockWeights& w = weights_[static_cast<std::size_t>(layer)];
  const std::int64_t N = pass.rows();
  const float eps = static_cast<float>(spec_.rms_norm_eps);
  const DType compute = options_.compute;
  const Tensor x0 = rows(a.x0, N), n1 = rows(a.n1, N), qkv = rows(a.qkv, N), attention = rows(a.attention, N);
  const Tensor out = rows(a.out, N), x1 = rows(a.x1, N), n2 = rows(a.n2, N), gate_up = rows(a.gate_up, N);

  // Recomputation starts from the kept x0; otherwise x0 = stream after the previous block's attention + its MLP's
  // output.
  if (for_backward || layer == 0) {
    backend_.residual_rmsnorm_forward(
        {.sum = x0, .n = n1, .rstd = rows(a.rstd1, N), .x = x0, .w = weight(w.input_norm), .eps = eps});
  } else {
    const Tensor previous_x1 = rows(pass.cached ? a.x1 : block(layer - 1).x1, N);
    backend_.residual_rmsnorm_forward({.sum = x0,
                                       .n = n1,
                                       .rstd = rows(a.rstd1, N),
                                       .x = previous_x1,
                                       .y = out,
                                       .w = weight(w.input_norm),
                                       .eps = eps});
  }

  const QkNormRopeForward rope = rope_args(layer, a, pass);
  backend_.linear_forward({.y = spec_.qk_norm ? rope.qkv_raw : qkv,
                           .x = n1,
                           .w = weight_stack(w.q, w.v),
                           .bias = weight_stack(w.q_bias, w.v_bias),
                           .compute = compute});
  backend_.qk_norm_rope_forward(rope);
  if (pass.cached) {
    const Tensor k_cache = arena_->view(k_cache_[static_cast<std::size_t>(layer)]);
    const Tensor v_cache = arena_->view(v_cache_[static_cast<std::size_t>(layer)]);
    backend_.attention_cached({.shape = attention_shape(pass),
                               .qkv = qkv,
                               .out = attention,
                               .k_cache = k_cache,
                               .v_cache = v_cache,
                               .first_position = pass.first_position});
  } else {
    backend_.attention_forward(
        {.shape = attention_shape(pass), .qkv = qkv, .out = attention, .lse = arena_->view(a.lse)});
  }
  backend_.linear_forward({.y = out, .x = make_o_input(layer, a, N), .w = weight(w.o), .compute = compute});

  backend_.residual_rmsnorm_forward(
      {.sum = x1, .n = n2, .rstd = rows(a.rstd2, N), .x = x0, .y = out, .w = weight(w.post_norm), .eps = eps});
  backend_.linear_forward({.y = gate_up, .x = n2, .w = weight_stack(w.gate, w.up), .compute = compute});
  if (for_backward) return;  // backward makes h again and does not need the block's output
  backend_.linear_forward({.y = out, .x = make_down_input(layer, a, N), .w = weight(w.down), .compute = compute});
}

Tensor Transformer::make_o_input(int layer, const BlockActivations& a, std::int64_t count) {
  const Tensor input = rows(a.o_input, count);
  if (spec_.sub_norm)
    sub_norm(input, a.attention, a.sub_rstd, weights_[static_cast<std::size_t>(layer)].attention_sub_norm);
  else if (options_.activations)
    backend_.quantize({.q = input, .x = rows(a.attention, count)});
  return input;
}

Tensor Transformer::make_down_input(int layer, const BlockActivations& a, std::int64_t count) {
  const Tensor input = rows(a.down_input, count);
  backend_.glu_forward({.out = spec_.sub_norm ? rows(a.h, count) : input,
                        .gate_up = rows(a.gate_up, count),
                        .activation = Activation::silu});
  if (spec_.sub_norm) sub_norm(input, a.h, a.sub_rstd, weights_[static_cast<std::size_t>(layer)].mlp_sub_norm);
  return input;
}

void Transformer::sub_norm(const Tensor& n, TensorId x, TensorId rstd, std::int32_t weight_of) {
  backend_.residual_rmsnorm_forward({.n = n,
                                     .rstd = rows(rstd, n.rows()),
                                     .x = rows(x, n.rows()),
                                     .w = weight(weight_of),
                                     .eps = static_cast<float>(spec_.rms_norm_eps)});
}

void Transformer::forward_to_final_norm(const Pass& pass) {
  const int L = static_cast<int>(spec_.num_hidden_layers);
  const std::int64_t N = pass.rows();
  const FinalActivations& f = pass.cached ? cached_final_ : final_;
  const BlockActivations first = pass.cached ? cached_block_ : block(0);
  const Tensor tokens = pass.cached ? arena_->view(cached_tokens_) : arena_->view(tokens_);
  Tensor ids = tokens;
  ids.shape = Shape{N};
  backend_.embedding_forward({.out = rows(first.x0, N), .w = weight(embedding_), .tokens = ids});
  for (int layer = 0; layer < L; ++layer) block_forward(layer, pass.cached ? cached_block_ : block(layer), pass, false);
  const BlockActivations last = pass.cached ? cached_block_ : block(L - 1);
  backend_.residual_rmsnorm_forward({.sum = rows(f.x, N),
                                     .n = rows(f.n, N),
                                     .rstd = rows(f.rstd, N),
                                     .x = rows(last.x1, N),
                                     .y = rows(last.out, N),
                                     .w = weight(final_norm_),
                                     .eps = static_cast<float>(spec_.rms_norm_eps)});
}

void Transformer::head(std::int64_t total_targets, const Tensor& sums, bool backward, bool accumulate) {
  const std::int64_t N = full_pass().rows();
  const Tensor n = arena_->view(final_.n);
  Tensor targets = arena_->view(targets_);
  targets.shape = Shape{N};
  const Tensor losses = arena_->view(losses_), lse_squared = arena_->view(lse_squared_);
  const float scale = total_targets > 0 ? 1.0f / static_cast<float>(total_targets) : 0.0f;
  for (std::int64_t first = 0; first < N; first += options_.head_rows) {
    const std::int64_t count = std::min(options_.head_rows, N - first);
    const Tensor logits = rows(final_.logits, count), n_rows = n.slice_rows(first, count);
    backend_.linear_forward({.y = logits, .x = n_rows, .w = weight(head_), .compute = options_.compute});
    backend_.cross_entropy({.logits = logits,
                            .targets = targets.slice_rows(first, count),
                            .loss = losses.slice_rows(first, count),
                            .lse_squared = lse_squared.slice_rows(first, count),
                            .scale = scale,
                            .z_loss = options_.z_loss,
                            .backward = backward});
    if (!backward) continue;
    backend_.linear_backward_input({.dx = arena_->view(dn_).slice_rows(first, count),
                                    .dy = logits,
                                    .w = weight(head_),
                                    .compute = options_.compute});
    backend_.linear_backward_weight({.dw = gradient(head_),
                                     .dy = logits,
                                     .x = n_rows,
                                     .accumulate = accumulate || first > 0,
                                     .compute = options_.compute});
  }

  backend_.add_losses({.sums = sums, .loss = losses, .lse_squared = lse_squared, .targets = targets});
}

LossSums Transformer::forward(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets) {
  upload(tokens, targets);
  forward_to_final_norm(full_pass());
  const Tensor sums = arena_->view(loss_sums_);
  backend_.zero({.x = sums});
  head(1, sums, false, false);
  LossSums values;
  backend_.to_host(&values, sums.data, sizeof values);
  return values;
}

std::vector<float> Transformer::logits(std::span<const std::int32_t> tokens) {
  upload(tokens, {});
  forward_to_final_norm(full_pass());
  const std::int64_t N = full_pass().rows(), V = spec_.vocab_size;
  std::vector<float> all(static_cast<std::size_t>(N * V));
  for (std::int64_t first = 0; first < N; first += options_.head_rows) {
    const std::int64_t count = std::min(options_.head_rows, N - first);
    const Tensor logits = rows(final_.logits, count);
    backend_.linear_forward({.y = logits,
                             .x = arena_->view(final_.n).slice_rows(first, count),
                             .w = weight(head_),
                             .compute = options_.compute});
    float* to = all.data() + first * V;
    if (logits.dtype == DType::f32) {
      backend_.to_host(to, logits.data, logits.bytes());
    } else {
      std::vector<bf16> rounded(static_cast<std::size_t>(count * V));
      backend_.to_host(rounded.data(), logits.data, logits.bytes());
      std::transform(rounded.begin(), rounded.end(), to, [](bf16 x) { return to_float(x); });
    }
  }
  return all;
}

std::vector<float> Transformer::next_logits(std::span<const std::int32_t> tokens, std::int64_t first_position) {
  const std::int64_t count = static_cast<std::int64_t>(tokens.size()), V = spec_.vocab_size;
  check(count > 0 && first_position + count <= options_.cache_length,
        "generation: positions {}..{} do not fit a cache of {}", first_position, first_position + count,
        options_.cache_length);
  check_tokens(tokens);
  const std::int64_t capacity = arena_->view(cached_tokens_).elements();
  std::int64_t rows_done = 0, last_rows = 0;
  for (; rows_done < count; rows_done += last_rows) {
    last_rows = std::min(capacity, count - rows_done);
    backend_.from_host(arena_->view(cached_tokens_).data, tokens.data() + rows_done, last_rows * size_of(DType::i32));
    forward_to_final_norm(
        {.batch = 1, .sequence_length = last_rows, .first_position = first_position + rows_done, .cached = true});
  }
  const Tensor logits = arena_->view(cached_final_.logits);
  backend_.linear_forward({.y = logits,
                           .x = arena_->view(cached_final_.n).slice_rows(last_rows - 1, 1),
                           .w = weight(head_),
                           .compute = options_.compute});
  std::vector<float> values(static_cast<std::size_t>(V));
  if (logits.dtype == DType::f32) {
    backend_.to_host(values.data(), logits.data, logits.bytes());
  } else {
    std::vector<bf16> rounded(static_cast<std::size_t>(V));
    backend_.to_host(rounded.data(), logits.data, logits.bytes());
    std::transform(rounded.begin(), rounded.end(), values.begin(), [](bf16 x) { return to_float(x); });
  }
  return values;
}

}  // namespace bittern
