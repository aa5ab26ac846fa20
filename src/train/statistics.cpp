#include "train/statistics.h"

#include <cmath>

namespace bittern {

bool statistics_due(const TrainSection& train, std::int64_t step) {
  return train.statistics_every > 0 && step % train.statistics_every == 0;
}

StatisticsMetrics step_statistics(const Training& t) {
  const auto roles = t.run->optimizer->statistics(*t.run->arena, t.run->model->parameters());
  const OptimizerSection& optimizer = t.config.optimizer;
  StatisticsMetrics metrics{.step = t.state.step, .tokens = t.state.tokens, .roles = {}};
  for (std::size_t i = 0; i < roles.size(); ++i) {
    const RoleStatistics& sums = roles[i];
    if (sums.elements == 0) continue;
    const WeightCodec& codec = weight_codec(t.config.weights, static_cast<Role>(i));
    const double elements = static_cast<double>(sums.elements);
    RoleMetrics& role = metrics.roles.emplace_back();
    role.role = role_names[i];
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
    if (optimizer.beta1 > 0) role.m_absmax = static_cast<double>(sums.m_absmax);
    if (info(optimizer.rule).has_second_moment) role.v_max = static_cast<double>(sums.v_max);
  }
  return metrics;
}

}  // namespace bittern
