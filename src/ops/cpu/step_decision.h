// What a step's loss and norm say: whether the update is made, and how the running means move. For decide_step and
// decide_bucket.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "bittern/step_record.h"

namespace bittern::cpu {

inline constexpr std::int64_t mean_over = 100;  // updates; the guard begins once the means are of so many

/// Whether x is more than so many standard deviations above its mean. A spike upward does harm; a fall does not.
inline bool far_above(double x, double mean, double mean_square, double deviations) {
  const double variance = std::max(mean_square - mean * mean, 0.0);
  return x > mean + deviations * std::sqrt(variance);
}

inline double mean_loss(const StepRecord& record) {
  return record.sums.loss / static_cast<double>(record.sums.targets);
}

/// Gradients so large that a second moment, which holds their squares, would be infinite and stay so: the weight would
/// never move again. The square of this is below the largest fp32 number.
inline constexpr double largest_gradient = 1e19;

/// Whether the gradients can be used as the record says that they are clipped.
inline bool usable_norm(const StepRecord& record) {
  const double norm = static_cast<double>(record.norm);
  return std::isfinite(norm) && norm * static_cast<double>(record.clip) <= largest_gradient;
}

inline Skipped decision(const StepRecord& record, float deviations) {
  const double loss = mean_loss(record), norm = static_cast<double>(record.norm);
  if (!std::isfinite(loss) || !usable_norm(record) || record.sums.targets == 0 || record.fault != 0)
    return Skipped::not_finite;
  const RunningMeans& means = record.means;
  const double allowed = static_cast<double>(deviations);
  if (allowed > 0.0 && means.steps >= mean_over &&
      (far_above(loss, means.loss, means.loss_square, allowed) ||
       far_above(norm, means.norm, means.norm_square, allowed)))
    return Skipped::far_from_mean;
  return Skipped::no;
}

inline void move_means(StepRecord& record) {
  const double loss = mean_loss(record), norm = static_cast<double>(record.norm);
  RunningMeans& means = record.means;
  means.steps = std::min(means.steps + 1, mean_over);
  const auto move = [weight = 1.0 / static_cast<double>(means.steps)](double& mean, double x) {
    mean += weight * (x - mean);
  };
  move(means.loss, loss);
  move(means.loss_square, loss * loss);
  move(means.norm, norm);
  move(means.norm_square, norm * norm);
}

}  // namespace bittern::cpu
