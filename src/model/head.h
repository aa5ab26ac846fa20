// Head: logits = n W^T and the loss, forward and backward together, over chunks of rows: the logits never exist whole.
//
//   n (N,C) the final norm   W (V,C)   logits (rows of a chunk, V)   losses, lse_squared (N) f32
// With a soft cap the model's logits are cap tanh(n W^T / cap).
#pragma once

#include <cstdint>
#include <vector>

#include "bittern/model.h"
#include "model/activation_plan.h"
#include "model/parameter_rows.h"
#include "model/pass.h"

namespace bittern {

class Head {
 public:
  /// softcap: 0, or that of the logits.
  Head(Weights weight, std::int64_t vocab_size, std::int64_t rows, float softcap)
      : weight_(weight), vocab_size_(vocab_size), rows_(rows), softcap_(softcap) {}

  void plan(ActivationPlan& plan);
  void plan_losses(Plan& plan, std::int64_t batch, std::int64_t sequence_length, bool training);

  /// Adds the losses to `sums` (step_record.h), unless it is empty. With `backward`, flow.dn = the gradient of n, and
  /// the gradient of W is overwritten or added to, for  (1 / total_targets) sum(loss + z_loss lse^2), as upload_scale
  /// sent it.
  void loss(const PartContext& c, const Tensor& n, const BackwardFlow& flow, const Tensor& sums, float z_loss,
            bool backward) const;
  /// The losses alone, on the host: waits for them.
  LossSums evaluate(const PartContext& c, const Tensor& n, float z_loss) const;
  void upload_targets(const PartContext& c, std::span<const std::int32_t> targets) const;
  void upload_scale(const PartContext& c, std::int64_t total_targets) const;

  /// The logits of all rows of n, (rows, V) on the host.
  std::vector<float> logits(const PartContext& c, const Pass& pass, const Tensor& n) const;

 private:
  Weights weight_;
  std::int64_t vocab_size_, rows_;  // V, rows of a chunk
  float softcap_;
  TensorId logits_, generation_logits_;
  TensorId targets_, losses_, lse_squared_;  // (B,T) i32, (N), (N) f32
  TensorId sums_;                            // LossSums, of evaluate() alone
  TensorId scale_;                           // (1) f32 in training: 1 / total_targets
};

}  // namespace bittern
