#include "bittern/optimizer.h"

#include "bittern/optim/optimizer_step.h"

namespace bittern {

const WeightCodec& weight_codec(const WeightsSection& weights, Role role) {
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
    : backend_(backend), config_(config.optimizer), seed_(static_cast<std::uint32_t>(config.run.seed)) {
  for (Parameter& parameter : parameters) {
    const std::string& name = parameter.spec.name;
    if (parameter.codec.master != Master::none) {
      const WeightCodec master = master_codec(parameter.codec);
      parameter.master = plan.add("master." + name, parameter.spec.shape, master.dtype(), Category::masters);
      const Shape rows{Tensor(nullptr, DType::f32, parameter.spec.shape).rows()};
      if (master.quantized())
        parameter.master_scale = plan.add("master." + name + "_scale", rows, DType::f32, Category::masters);
    }
    parameter.m.codes = plan.add("m." + name, parameter.spec.shape, find_state_codec(config_.states.m)->dtype,
                                 Category::optimizer_states);
    parameter.v.codes = plan.add("v." + name, parameter.spec.shape, find_state_codec(config_.states.v)->dtype,
                                 Category::optimizer_states);
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

void Optimizer::step(const Arena& arena, std::span<const Parameter> parameters, double lr, double weight_decay,
                     std::int64_t update, std::int64_t step) {
  const auto constants = [&](double decay) {
    return adamw_constants(lr, config_.beta1, config_.beta2, config_.eps, decay, update);
  };
  const AdamwConstants decayed = constants(weight_decay), plain = constants(0.0);
  for (const Parameter& parameter : parameters) {
    const StateCodec m{.info = find_state_codec(config_.states.m)}, v{.info = find_state_codec(config_.states.v)};
    backend_.optimizer_step(
        {.weight = scaled(arena, parameter.weight, parameter.scale),
         .master = scaled(arena, parameter.master, parameter.master_scale),
         .m = {.codec = m, .codes = arena.view(parameter.m.codes), .scales = {}, .row = {}, .column = {}},
         .v = {.codec = v, .codes = arena.view(parameter.v.codes), .scales = {}, .row = {}, .column = {}},
         .gradient = arena.view(parameter.gradient),
         .clip = arena.view(norm_),
         .statistics = {},
         .constants = {is_decayed(parameter.spec, config_) ? decayed : plain},
         .codec = parameter.codec,
         .seed = seed_,
         .step = static_cast<std::uint32_t>(step),
         .tensor_id = parameter.id});
  }
}

}  // namespace bittern
