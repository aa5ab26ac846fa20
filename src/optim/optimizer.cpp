#include "bittern/optimizer.h"

namespace bittern {

const WeightCodecConfig& weight_codec(const WeightsSection& weights, Role role) {
  switch (role) {
    case Role::embedding:
      return weights.embedding;
    case Role::head:
      return weights.head;
    case Role::norm:
      return weights.norm;
    case Role::attention_linear:
      return weights.attention_linear;
    case Role::mlp_linear:
      break;
  }
  return weights.mlp_linear;
}

bool is_decayed(const ParameterSpec& parameter, const OptimizerSection& config) {
  if (config.decay_on == "all") return true;
  if (parameter.role == Role::norm) return false;
  return config.decay_on == "matrices" || (parameter.role != Role::embedding && parameter.role != Role::head);
}

Optimizer::Optimizer(Backend& backend, const RunConfig& config, std::span<Parameter> parameters, Plan& plan)
    : backend_(backend),
      config_(config.optimizer),
      weights_(config.weights),
      rounding_key_(philox_key(static_cast<std::uint32_t>(config.run.seed), Purpose::weight_rounding)) {
  for (Parameter& parameter : parameters) {
    const auto add = [&](const char* prefix, DType dtype, Category category) {
      return plan.add(prefix + parameter.spec.name, parameter.spec.shape, dtype, category);
    };
    if (weight_codec(weights_, parameter.spec.role).master)
      parameter.master = add("master.", DType::f32, Category::masters);
    parameter.m = add("m.", config_.state_m, Category::optimizer_states);
    parameter.v = add("v.", config_.state_v, Category::optimizer_states);
  }
  norm_ = plan.add("gradient_norm", Shape{2}, DType::f32, Category::data);
}

float Optimizer::global_norm(const Arena& arena, std::span<const Tensor> gradients) {
  const Tensor norm = arena.view(norm_);
  backend_.global_norm(norm, gradients, static_cast<float>(config_.clip_grad_norm));
  float value = 0.0f;
  backend_.to_host(&value, norm.data, sizeof value);
  return value;
}

float Optimizer::clip_scale(const Arena& arena) const {
  std::array<float, 2> norm{};
  backend_.to_host(norm.data(), arena.view(norm_).data, sizeof norm);
  return norm[1];
}

void Optimizer::step(const Arena& arena, std::span<const Parameter> parameters, double lr, std::int64_t update,
                     std::int64_t step) {
  const auto constants = [&](double weight_decay) {
    return adamw_constants(lr, config_.beta1, config_.beta2, config_.eps, weight_decay, update);
  };
  const AdamwConstants decayed = constants(config_.weight_decay), plain = constants(0.0);
  for (const Parameter& parameter : parameters) {
    backend_.optimizer_step({.weight = arena.view(parameter.weight),
                             .master = arena.view(parameter.master),
                             .m = arena.view(parameter.m),
                             .v = arena.view(parameter.v),
                             .gradient = arena.view(parameter.gradient),
                             .clip = arena.view(norm_),
                             .constants = is_decayed(parameter.spec, config_) ? decayed : plain,
                             .weight_rounding = weight_codec(weights_, parameter.spec.role).rounding,
                             .key = rounding_key_,
                             .step = static_cast<std::uint32_t>(step),
                             .tensor_id = parameter.id});
  }
}

}  // namespace bittern
