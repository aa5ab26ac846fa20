// The head and the loss: what they ask of the plan, and the walk over chunks of rows.
#include "model/head.h"

#include <algorithm>
#include <cmath>

#include "bittern/quant/bf16.h"

namespace bittern {

void Head::plan(ActivationPlan& plan) {
  if (plan.generation())
    generation_logits_ = plan.head_scratch("logits", 1, vocab_size_);
  else
    logits_ = plan.head_scratch("logits", rows_, vocab_size_);
}

void Head::plan_losses(Plan& plan, std::int64_t batch, std::int64_t sequence_length, bool training) {
  const Shape rows{batch * sequence_length};
  targets_ = plan.add("targets", Shape{batch, sequence_length}, DType::i32, Category::data);
  losses_ = plan.add("losses", rows, DType::f32, Category::data);
  lse_squared_ = plan.add("lse_squared", rows, DType::f32, Category::data);
  sums_ = plan.add("loss_sums", Shape{loss_sums_bytes}, DType::u8, Category::data);
  if (training) scale_ = plan.add("loss_scale", Shape{1}, DType::f32, Category::data);
}

void Head::upload_targets(const PartContext& c, std::span<const std::int32_t> targets) const {
  for (std::size_t n = 0; n < targets.size(); ++n)
    check(targets[n] >= -1 && targets[n] < vocab_size_,
          "model: target {} of row {} is outside the vocabulary; expected 0 to {}, or -1 to ignore the row", targets[n],
          n, vocab_size_ - 1);
  const Tensor to = c.arena.view(targets_);
  c.backend.from_host(to.data, targets.data(), to.bytes());
}

void Head::upload_scale(const PartContext& c, std::int64_t total_targets) const {
  const float scale = total_targets > 0 ? 1.0f / static_cast<float>(total_targets) : 0.0f;
  c.backend.from_host(c.arena.view(scale_).data, &scale, sizeof scale);
}

void Head::loss(const PartContext& c, const Tensor& n, const BackwardFlow& flow, const Tensor& sums, float z_loss,
                bool backward) const {
  Tensor targets = c.arena.view(targets_);
  targets.shape = Shape{n.rows()};
  const Tensor losses = c.arena.view(losses_), lse_squared = c.arena.view(lse_squared_);
  for (std::int64_t first = 0; first < n.rows(); first += rows_) {
    const std::int64_t count = std::min(rows_, n.rows() - first);
    const Tensor logits = c.rows(logits_, count), chunk = n.slice_rows(first, count);
    c.backend.linear_forward({.y = logits, .x = chunk, .w = c.weight(weight_), .compute = c.compute});
    c.backend.cross_entropy({.logits = logits,
                             .targets = targets.slice_rows(first, count),
                             .loss = losses.slice_rows(first, count),
                             .lse_squared = lse_squared.slice_rows(first, count),
                             .scale = c.arena.view(scale_),
                             .z_loss = z_loss,
                             .backward = backward,
                             .softcap = softcap_});
    if (!backward) continue;
    c.backend.linear_backward_input(
        {.dx = flow.dn.slice_rows(first, count), .dy = logits, .w = c.weight(weight_), .compute = c.compute});
    c.backend.linear_backward_weight({.dw = c.gradient(weight_),
                                      .dy = logits,
                                      .x = chunk,
                                      .accumulate = flow.accumulate || first > 0,
                                      .compute = c.compute});
  }
  if (sums) c.backend.add_losses({.sums = sums, .loss = losses, .lse_squared = lse_squared, .targets = targets});
}

LossSums Head::evaluate(const PartContext& c, const Tensor& n, float z_loss) const {
  const Tensor sums = c.arena.view(sums_);
  c.backend.zero({.x = sums});
  loss(c, n, {}, sums, z_loss, false);
  LossSums values;
  c.backend.to_host(&values, sums.data, sizeof values);
  return values;
}

std::vector<float> Head::logits(const PartContext& c, const Pass& pass, const Tensor& n) const {
  const Tensor chunk = c.arena.view(pass.generation ? generation_logits_ : logits_);
  std::vector<float> all(static_cast<std::size_t>(n.rows() * vocab_size_));
  for (std::int64_t first = 0; first < n.rows(); first += chunk.rows()) {
    const std::int64_t count = std::min(chunk.rows(), n.rows() - first);
    const Tensor logits = chunk.slice_rows(0, count);
    c.backend.linear_forward(
        {.y = logits, .x = n.slice_rows(first, count), .w = c.weight(weight_), .compute = c.compute});
    float* to = all.data() + first * vocab_size_;
    if (logits.dtype == DType::f32) {
      c.backend.to_host(to, logits.data, logits.bytes());
    } else {
      std::vector<bf16> rounded(static_cast<std::size_t>(count * vocab_size_));
      c.backend.to_host(rounded.data(), logits.data, logits.bytes());
      std::ranges::transform(rounded, to, [](bf16 x) { return to_float(x); });
    }
  }
  if (softcap_ > 0.0f)
    for (float& logit : all) logit = softcap_ * std::tanh(logit / softcap_);
  return all;
}

}  // namespace bittern
