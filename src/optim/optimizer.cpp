// Plans moments, masters, the record and the statistics of the optimizer, and calls the ops of its step.
#include "bittern/optimizer.h"

#include <algorithm>
#include <cmath>

#include "bittern/moment_choice.h"
#include "bittern/quant/scales.h"
#include "bittern/step_record_tensors.h"

namespace bittern {

namespace {

constexpr std::int64_t part_bytes = sizeof(double);  // of a part's sum of squares

bool is_decayed(const RoleInfo& role, const OptimizerSection& config) {
  if (config.decay_on == "all") return true;
  return config.decay_on == "linears" ? role.decayed && role.is_linear : role.decayed;
}

StateCodec moment_codec(const ParameterSpec& parameter, const StatesSection& states, const MomentChoice& choice) {
  const bool stored = choice.own || parameter.shape.elements() > states.min_elements;
  const StateCodecInfo* codec = find_state_codec(stored ? choice.codec : "f32");
  check(codec != nullptr, "optimizer.states: there is no codec \"{}\"", choice.codec);
  if (parameter.shape.rank < 2) codec = codec_of_vectors(codec);
  return {.info = codec,
          .block = choice.block,
          .rounding = choice.rounding,
          .quantile = static_cast<float>(states.quantile)};
}

/// m.NAME, and what else the codec keeps: m.NAME_scale, m.NAME_row, m.NAME_column.
void plan_moment(Plan& plan, const std::string& name, const Shape& shape, Moment& moment) {
  const StateCodec& codec = moment.codec;
  const Tensor view(nullptr, codec.info->dtype, shape);
  const std::int64_t rows = view.rows(), cols = view.cols(), blocks = (cols + codec.block - 1) / codec.block;
  const auto add = [&](const char* suffix, Shape of, DType dtype) {
    return plan.add(name + suffix, of, dtype, Category::optimizer_states);
  };
  const StateKind kind = codec.info->kind;
  if (has_codes(kind)) moment.codes = add("", shape, codec.info->dtype);
  if (kind == StateKind::fp8 || kind == StateKind::codebook)
    moment.scales = add("_scale", Shape{rows, blocks}, DType::f32);
  if (kind == StateKind::logarithmic) moment.scales = add("_scale", Shape{rows, 2 * blocks}, DType::f32);
  if (has_rows(kind)) moment.row = add("_row", Shape{rows}, DType::f32);
  if (has_columns(kind)) moment.column = add("_column", Shape{cols}, DType::f32);
}

StoredMoment stored(const Arena& arena, const Moment& moment) {
  return {.codec = moment.codec,
          .codes = arena.view(moment.codes),
          .scales = arena.view(moment.scales),
          .row = arena.view(moment.row),
          .column = arena.view(moment.column)};
}

}  // namespace

void decide_update(Parameter& parameter, const OptimizerSection& config) {
  const RoleInfo& role = info(parameter.spec.role);
  parameter.rule = role.updated ? std::optional(rule_of(config, role.role)) : std::nullopt;
  parameter.decayed = role.updated && is_decayed(role, config);
  parameter.m.codec = moment_codec(parameter.spec, config.states, first_moment_of(config.states, role.role));
  parameter.v.codec = moment_codec(parameter.spec, config.states, second_moment_of(config.states, role.role));
}

Optimizer::Optimizer(Backend& backend, const RunConfig& config, std::span<Parameter> parameters, Plan& plan)
    : backend_(backend),
      config_(config.optimizer),
      compute_(config.precision.compute),
      seed_(static_cast<std::uint32_t>(config.run.seed)),
      skip_deviations_(config.train.skip_deviations) {
  check(
      backend.traits().steps_ahead < UpdateConstants::candidates,
      "optimizer: the back end {} is given {} steps before the host looks at the first of them; expected at most {}: an "
      "update's constants are made for so many answers to whether those steps were skipped",
      backend.description(), backend.traits().steps_ahead + 1, UpdateConstants::candidates);
  first_part_.push_back(0);
  for (Parameter& parameter : parameters) {
    const std::string& name = parameter.spec.name;
    const Tensor view(nullptr, DType::f32, parameter.spec.shape);
    check(parameter.id + 1 == first_part_.size(), "optimizer: {} has id {}; expected its place in the table, {}", name,
          parameter.id, first_part_.size() - 1);
    first_part_.push_back(first_part_.back() + square_parts_of(view));
    decide_update(parameter, config_);
    if (!parameter.rule) continue;
    if (parameter.codec.master != Master::none) {
      const WeightCodec master = master_codec(parameter.codec);
      parameter.master = plan.add("master." + name, parameter.spec.shape, master.dtype(), Category::masters);
      if (master.quantized())
        parameter.master_scale =
            plan.add("master." + name + "_scale", Shape{view.rows()}, DType::f32, Category::masters);
    }
    if (config_.beta1 > 0 || info(*parameter.rule).sees_matrix)
      plan_moment(plan, "m." + name, parameter.spec.shape, parameter.m);
    if (info(*parameter.rule).has_second_moment) plan_moment(plan, "v." + name, parameter.spec.shape, parameter.v);
  }
  record_ = plan.add("step_record", Shape{step_record_bytes}, DType::u8, Category::data);
  record_copies_ = plan.add_on_host("step_record.copies", Shape{backend.traits().steps_ahead + 1, step_record_bytes},
                                    DType::u8, Category::data);
  square_parts_ = plan.add("gradient_squares", Shape{first_part_.back() * part_bytes}, DType::u8, Category::data);
  statistics_ = plan.add("step_statistics",
                         Shape{static_cast<std::int64_t>(parameters.size()), static_cast<int>(StepStatistic::count)},
                         DType::f32, Category::data);
}

void Optimizer::set_record(const Arena& arena, const StepRecord& record) {
  backend_.from_host(arena.view(record_).data, &record, sizeof record);
}

StepRecord* Optimizer::record_copy(const Arena& arena, std::int64_t slot) const {
  return reinterpret_cast<StepRecord*>(arena.view(record_copies_).slice_rows(slot, 1).as<std::uint8_t>());
}

void Optimizer::square_parts(const Arena& arena, std::span<const Parameter> parameters) {
  if (parameters.empty()) return;
  std::vector<Tensor> gradients;
  for (const Parameter& parameter : parameters) gradients.push_back(arena.view(parameter.gradient));
  const std::int64_t first = first_part_[parameters.front().id], last = first_part_[parameters.back().id + 1];
  std::uint8_t* const all = arena.view(square_parts_).as<std::uint8_t>();
  backend_.square_parts({.parts = Tensor(all + first * part_bytes, DType::u8, Shape{(last - first) * part_bytes}),
                         .gradients = gradients});
}

void Optimizer::make_norm(const Arena& arena) {
  backend_.norm_of_parts({.norm = norm_of(record(arena)),
                          .parts = arena.view(square_parts_),
                          .max_norm = static_cast<float>(config_.clip_grad_norm)});
}

void Optimizer::decide(const Arena& arena) {
  make_norm(arena);
  backend_.decide_step({.record = record(arena), .deviations = static_cast<float>(skip_deviations_)});
}

void Optimizer::begin_buckets(const Arena& arena) {
  backend_.zero({.x = arena.view(square_parts_)});
}

void Optimizer::decide_bucket(const Arena& arena, int bucket, bool first, bool last) {
  make_norm(arena);
  backend_.decide_bucket({.record = record(arena),
                          .bucket = bucket,
                          .first = first,
                          .last = last,
                          .max_norm = static_cast<float>(config_.clip_grad_norm),
                          .deviations = static_cast<float>(skip_deviations_)});
}

UpdateConstants Optimizer::constants_for(const Parameter& parameter, double lr, double weight_decay,
                                         std::int64_t first_update) const {
  const UpdateRuleInfo& rule = info(*parameter.rule);
  RuleOptions options{.lr = lr,
                      .beta1 = rule.sees_matrix ? config_.muon.momentum : config_.beta1,
                      .beta2 = config_.beta2,
                      .eps = config_.eps,
                      .weight_decay = parameter.decayed ? weight_decay : 0.0,
                      .eco_decay_factor = config_.eco.decay_factor,
                      .eco_cap = config_.eco.cap};
  if (rule.sees_matrix) {
    const Shape& shape = parameter.spec.shape;
    const std::int64_t rows = shape[0] / orthogonalization_of(parameter).blocks;
    options.direction_scale = config_.muon.scale * std::sqrt(static_cast<double>(std::max(rows, shape[1])));
  }
  return UpdateConstants(rule.constants(options, first_update), rule.constants(options, first_update + 1),
                         first_update);
}

Orthogonalization Optimizer::orthogonalization_of(const Parameter& parameter) const {
  const MuonSection& muon = config_.muon;
  return {.polynomial = muon.coefficients,
          .steps = static_cast<int>(muon.steps),
          .nesterov = muon.nesterov,
          .blocks = muon.per_head ? parameter.spec.heads : 1,
          .compute = compute_};
}

void Optimizer::step(const Arena& arena, std::span<const Parameter> parameters, double lr, double weight_decay,
                     std::int64_t first_update, std::int64_t step, bool with_statistics) {
  const Tensor statistics = arena.view(statistics_);
  std::vector<OptimizerStep> updates;
  for (const Parameter& parameter : parameters) {
    if (!parameter.rule) continue;
    const Tensor row = statistics.slice_rows(parameter.id, 1);
    updates.push_back({.weight = scaled(arena, parameter.weight, parameter.scale),
                       .master = scaled(arena, parameter.master, parameter.master_scale),
                       .m = stored(arena, parameter.m),
                       .v = stored(arena, parameter.v),
                       .gradient = arena.view(parameter.gradient),
                       .record = arena.view(record_),
                       .statistics = with_statistics ? row : Tensor(),
                       .rule = *parameter.rule,
                       .constants = constants_for(parameter, lr, weight_decay, first_update),
                       .orthogonalization = orthogonalization_of(parameter),
                       .codec = parameter.codec,
                       .seed = seed_,
                       .step = static_cast<std::uint32_t>(step),
                       .tensor_id = parameter.id});
  }
  backend_.optimizer_steps(updates);
}

ByRole<RoleStatistics> Optimizer::statistics(const Arena& arena, std::span<const Parameter> parameters) const {
  constexpr auto count = static_cast<std::size_t>(StepStatistic::count);
  std::vector<std::array<float, count>> all(parameters.size());
  const Tensor table = arena.view(statistics_);
  backend_.to_host(all.data(), table.data, table.bytes());
  ByRole<RoleStatistics> roles;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    RoleStatistics& role = roles[parameters[i].spec.role];
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
