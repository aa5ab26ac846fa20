// Optimizer: an update rule over the parameters' codecs: what it asks of the plan, and one step.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "bittern/config.h"
#include "bittern/ops.h"
#include "bittern/parameter.h"
#include "bittern/plan.h"

namespace bittern {

/// The weight codec that the config gives to a role.
const WeightCodec& weight_codec(const WeightsSection& weights, Role role);

/// True where decoupled weight decay applies (optimizer.decay_on).
bool is_decayed(const ParameterSpec& parameter, const OptimizerSection& config);

class Optimizer {
 public:
  /// Adds moments, masters and the norm to the plan, and their ids to the parameters.
  Optimizer(Backend& backend, const RunConfig& config, std::span<Parameter> parameters, Plan& plan);

  /// norm[0] of all gradients, norm[1] the clip scale; returns the norm.
  float global_norm(const Arena& arena, std::span<const Tensor> gradients);

  /// One update of every parameter. `update`: Adam's t, from 1, counting the updates really made;
  /// `step`: the training step, which addresses the random numbers of stochastic rounding.
  void step(const Arena& arena, std::span<const Parameter> parameters, double lr, double weight_decay,
            std::int64_t update, std::int64_t step);

  /// The factor that global_norm found for the gradients.
  float clip_scale(const Arena& arena) const;

 private:
  Backend& backend_;
  OptimizerSection config_;
  std::uint32_t seed_;  ///< of rounding
  TensorId norm_;
};

}  // namespace bittern
