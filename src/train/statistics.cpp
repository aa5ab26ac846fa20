// Makes the line of metrics that says what a step did to weights and moments, from the optimizer's sums.
#include "train/statistics.h"

#include <algorithm>
#include <cmath>

namespace bittern {
namespace {

/// True where that moment of some parameter of the role is not stored in f32.
bool any_in_few_bits(const Session& session, Role role, Moment Parameter::*moment) {
  return std::ranges::any_of(session.model->parameters(), [&](const Parameter& parameter) {
    return parameter.spec.role == role && (parameter.*moment).codec.info->name != "f32";
  });
}

}  // namespace

bool statistics_due(const TrainSection& train, std::int64_t step) {
  return train.statistics_every > 0 && step % train.statistics_every == 0;
}

StatisticsMetrics step_statistics(const Session& session, const TrainingState& state) {
  const auto roles = session.optimizer->statistics(*session.arena, session.model->parameters());
  const OptimizerSection& optimizer = session.config.optimizer;
  StatisticsMetrics metrics{.step = state.step, .tokens = state.tokens, .roles = {}};
  for (const RoleInfo& row : role_table) {
    const RoleStatistics& sums = roles[row.role];
    if (sums.elements == 0) continue;
    const WeightCodec& codec = session.config.weights[row.role];
    const double elements = static_cast<double>(sums.elements);
    RoleMetrics& role = metrics.roles.emplace_back();
    role.role = row.name;
    if (codec.storage != WeightStorage::f32)
      role.relative_error = sums.value_squared > 0 ? std::sqrt(sums.error_squared / sums.value_squared) : 0.0;
    // Only with a master is the error of the step before still known (ECO, figure 2).
    const double errors = std::sqrt(sums.error_before_squared) * std::sqrt(sums.error_squared);
    if (codec.master != Master::none && errors > 0) {
      role.error_ratio = std::sqrt(sums.error_squared / sums.error_before_squared);
      role.error_cosine = sums.error_dot / errors;
    }
    if (codec.quantized()) {  // codes alone are counted
      role.changed = sums.changed / elements;
      if (codec.rounding == Rounding::stochastic && codec.storage != WeightStorage::fp8_e4m3)
        role.expected_changed = sums.expected_changed / elements;
      role.saturated = sums.saturated / elements;
    }
    const UpdateRuleInfo& rule = info(rule_of(optimizer, row.role));
    if (optimizer.beta1 > 0 || rule.sees_matrix) {
      role.m_absmax = static_cast<double>(sums.m_absmax);
      if (any_in_few_bits(session, row.role, &Parameter::m))
        role.m_relative_error = sums.m_squared > 0 ? std::sqrt(sums.m_error_squared / sums.m_squared) : 0.0;
    }
    if (rule.has_second_moment) {
      role.v_max = static_cast<double>(sums.v_max);
      if (any_in_few_bits(session, row.role, &Parameter::v)) role.v_zeroed = sums.v_zeroed / elements;
    }
  }
  return metrics;
}

}  // namespace bittern
