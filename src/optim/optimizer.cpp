#include "bittern/optimizer.h"

#include <algorithm>

#include "bittern/quant/scales.h"

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

namespace {

bool has_stored_codec(const ParameterSpec& parameter, const StatesSection& states) {
  const bool linear = parameter.role == Role::attention_linear || parameter.role == Role::mlp_linear;
  const bool matrix = linear || parameter.role == Role::embedding || parameter.role == Role::head;
  const bool asked = states.on == StatesOn::all || linear || (states.on == StatesOn::matrices && matrix);
  return asked && parameter.shape.elements() > states.min_elements;
}

StateCodec moment_codec(const ParameterSpec& parameter, const StatesSection& states, const std::string& name,
                        Rounding rounding) {
  const StateCodecInfo* codec = find_state_codec(has_stored_codec(parameter, states) ? name : "f32");
  check(codec != nullptr, "optimizer.states: there is no codec \"{}\"", name);
  if (parameter.shape.rank < 2) codec = codec_of_vectors(codec);
  return {.info = codec, .block = states.block, .rounding = rounding, .quantile = static_cast<float>(states.quantile)};
}

/// m.NAME, and what else the codec keeps: m.NAME_scale, m.NAME_row, m.NAME_column.
MomentIds plan_moment(Plan& plan, const std::string& name, const Shape& shape, const StateCodec& codec) {
  const Tensor view(nullptr, codec.info->dtype, shape);
  const std::int64_t rows = view.rows(), cols = view.cols(), blocks = (cols + codec.block - 1) / codec.block;
  const auto add = [&](const char* suffix, Shape of, DType dtype) {
    return plan.add(name + suffix, of, dtype, Category::optimizer_states);
  };
  MomentIds ids;
  const StateKind kind = codec.info->kind;
  if (kind != StateKind::factored) ids.codes = add("", shape, codec.info->dtype);
  if (kind == StateKind::fp8 || kind == StateKind::codebook)
    ids.scales = add("_scale", Shape{rows, blocks}, DType::f32);
  if (kind == StateKind::logarithmic) ids.scales = add("_scale", Shape{rows, 2 * blocks}, DType::f32);
  if (kind == StateKind::rank1 || kind == StateKind::factored) {
    ids.row = add("_row", Shape{rows}, DType::f32);
    ids.column = add("_column", Shape{cols}, DType::f32);
  }
  return ids;
}

StoredMoment stored(const Arena& arena, const MomentIds& ids, const StateCodec& codec) {
  return {.codec = codec,
          .codes = arena.view(ids.codes),
          .scales = arena.view(ids.scales),
          .row = arena.view(ids.row),
          .column = arena.view(ids.column)};
}

}  // namespace

StateCodec first_moment_codec(const ParameterSpec& parameter, const OptimizerSection& config) {
  const StatesSection& states = config.states;
  return moment_codec(parameter, states, parameter.role == Role::head ? states.head_m : states.m, states.m_rounding);
}

StateCodec second_moment_codec(const ParameterSpec& parameter, const OptimizerSection& config) {
  return moment_codec(parameter, config.states, config.states.v, config.states.v_rounding);
}

Optimizer::Optimizer(Backend& backend, const RunConfig& config, std::span<Parameter> parameters, Plan& plan)
    : backend_(backend), config_(config.optimizer), seed_(static_cast<std::uint32_t>(config.run.seed)) {
  for (Parameter& parameter : parameters) {
    const std::string& name = parameter.spec.name;
    const Tensor view(nullptr, DType::f32, parameter.spec.shape);
    max_rows_ = std::max(max_rows_, view.rows());
    max_cols_ = std::max(max_cols_, view.cols());
    if (parameter.codec.master != Master::none) {
      const WeightCodec master = master_codec(parameter.codec);
      parameter.master = plan.add("master." + name, parameter.spec.shape, master.dtype(), Category::masters);
      if (master.quantized())
        parameter.master_scale =
            plan.add("master." + name + "_scale", Shape{view.rows()}, DType::f32, Category::masters);
    }
    if (config_.beta1 > 0)
      parameter.m = plan_moment(plan, "m." + name, parameter.spec.shape, first_moment_codec(parameter.spec, config_));
    if (info(config_.rule).has_second_moment)
      parameter.v = plan_moment(plan, "v." + name, parameter.spec.shape, second_moment_codec(parameter.spec, config_));
  }
  norm_ = plan.add("gradient_norm", Shape{2}, DType::f32, Category::data);
  statistics_ = plan.add("step_statistics",
                         Shape{static_cast<std::int64_t>(parameters.size()), static_cast<int>(StepStatistic::count)},
                         DType::f32, Category::data);
}

void Optimizer::add_needs(WorkspaceNeeds& needs) const {
  needs.parameter_rows = std::max(needs.parameter_rows, max_rows_);
  needs.parameter_cols = std::max(needs.parameter_cols, max_cols_);
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
                     std::int64_t update, std::int64_t step, bool with_statistics) {
  const auto constants = [&](double decay) {
    return info(config_.rule)
        .constants({.lr = lr,
                    .beta1 = config_.beta1,
                    .beta2 = config_.beta2,
                    .eps = config_.eps,
                    .weight_decay = decay,
                    .eco_decay_factor = config_.eco.decay_factor,
                    .eco_cap = config_.eco.cap},
                   update);
  };
  const RuleConstants decayed = constants(weight_decay), plain = constants(0.0);
  const Tensor statistics = arena.view(statistics_);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    Tensor row = statistics.slice_rows(static_cast<std::int64_t>(i), 1);
    backend_.optimizer_step({.weight = scaled(arena, parameter.weight, parameter.scale),
                             .master = scaled(arena, parameter.master, parameter.master_scale),
                             .m = stored(arena, parameter.m, first_moment_codec(parameter.spec, config_)),
                             .v = stored(arena, parameter.v, second_moment_codec(parameter.spec, config_)),
                             .gradient = arena.view(parameter.gradient),
                             .clip = arena.view(norm_),
                             .statistics = with_statistics ? row : Tensor(),
                             .rule = config_.rule,
                             .constants = is_decayed(parameter.spec, config_) ? decayed : plain,
                             .codec = parameter.codec,
                             .seed = seed_,
                             .step = static_cast<std::uint32_t>(step),
                             .tensor_id = parameter.id});
  }
}

std::array<RoleStatistics, role_names.size()> Optimizer::statistics(const Arena& arena,
                                                                    std::span<const Parameter> parameters) const {
  constexpr auto count = static_cast<std::size_t>(StepStatistic::count);
  std::vector<std::array<float, count>> all(parameters.size());
  const Tensor table = arena.view(statistics_);
  backend_.to_host(all.data(), table.data, table.bytes());
  std::array<RoleStatistics, role_names.size()> roles;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    RoleStatistics& role = roles[static_cast<std::size_t>(parameters[i].spec.role)];
    const auto of = [&](StepStatistic which) { return all[i][static_cast<std::size_t>(which)]; };
    role.elements += parameters[i].spec.shape.elements();
    role.changed += static_cast<double>(of(StepStatistic::changed));
    role.expected_changed += static_cast<double>(of(StepStatistic::expected_changed));
    role.saturated += static_cast<double>(of(StepStatistic::saturated));
    role.error_squared += static_cast<double>(of(StepStatistic::error_squared));
    role.value_squared += static_cast<double>(of(StepStatistic::value_squared));
    role.error_before_squared += static_cast<double>(of(StepStatistic::error_before_squared));
    role.error_dot += static_cast<double>(of(StepStatistic::error_dot));
    role.m_squared += static_cast<double>(of(StepStatistic::m_squared));
    role.m_error_squared += static_cast<double>(of(StepStatistic::m_error_squared));
    role.v_zeroed += static_cast<double>(of(StepStatistic::v_zeroed));
    const auto larger = [](float a, float b) { return magnitude_bits(b) > magnitude_bits(a) ? b : a; };  // keeps a NaN
    role.m_absmax = larger(role.m_absmax, of(StepStatistic::m_absmax));
    role.v_max = larger(role.v_max, of(StepStatistic::v_max));
  }
  return roles;
}

}  // namespace bittern
