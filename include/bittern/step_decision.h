// What a step's loss and norm say: whether the update is made, and how the running means move. For decide_step and
// decide_bucket of every back end: the same numbers make the same decision everywhere.
#pragma once

#include <cmath>
#include <cstdint>

#include "bittern/host_device.h"
#include "bittern/step_record.h"

namespace bittern {

inline constexpr std::int64_t mean_over = 100;  // updates; the guard begins once the means are of so many

/// Whether x is more than so many standard deviations above its mean. A spike upward does harm; a fall does not.
BITTERN_HD bool far_above(double x, double mean, double mean_square, double deviations) {
  const double difference = mean_square - mean * mean;
  return x > mean + deviations * sqrt(difference < 0.0 ? 0.0 : difference);
}

/// Neither infinite nor NaN, for both compilers.
BITTERN_HD bool is_finite(double x) {
  return x - x == 0.0;
}

BITTERN_HD double mean_loss(const StepRecord& record) {
  return record.sums.loss / static_cast<double>(record.sums.targets);
}

/// Gradients so large that a second moment, which holds their squares, would be infinite and stay so: the weight would
/// never move again. The square of this is below the largest fp32 number.
inline constexpr double largest_gradient = 1e19;

/// Whether the gradients can be used as the record says that they are clipped.
BITTERN_HD bool usable_norm(const StepRecord& record) {
  const double norm = static_cast<double>(record.norm);
  return is_finite(norm) && norm * static_cast<double>(record.clip) <= largest_gradient;
}

BITTERN_HD Skipped decision(const StepRecord& record, float deviations) {
  const double loss = mean_loss(record), norm = static_cast<double>(record.norm);
  if (!is_finite(loss) || !usable_norm(record) || record.sums.targets == 0 || record.fault != 0)
    return Skipped::not_finite;
  const RunningMeans& means = record.means;
  const double allowed = static_cast<double>(deviations);
  if (allowed > 0.0 && means.steps >= mean_over &&
      (far_above(loss, means.loss, means.loss_square, allowed) ||
       far_above(norm, means.norm, means.norm_square, allowed)))
    return Skipped::far_from_mean;
  return Skipped::no;
}

BITTERN_HD void move_means(StepRecord& record) {
  const double loss = mean_loss(record), norm = static_cast<double>(record.norm);
  RunningMeans& means = record.means;
  means.steps = means.steps < mean_over ? means.steps + 1 : mean_over;
  const auto move = [weight = 1.0 / static_cast<double>(means.steps)](double& mean, double x) {
    mean += weight * (x - mean);
  };
  move(means.loss, loss);
  move(means.loss_square, loss * loss);
  move(means.norm, norm);
  move(means.norm_square, norm * norm);
}

/// decide_bucket: the record holds the norm of the gradients so far, and a clip by it.
BITTERN_HD void decide_bucket_of(StepRecord& record, std::int64_t bucket, bool first, bool last, float max_norm,
                                 float deviations) {
  // What the rest will bring is guessed: what it brought in earlier steps.
  const double usual = record.means.norm;
  if (max_norm > 0.0f && usual > 0.0) {
    const float clip = static_cast<float>(static_cast<double>(max_norm) / usual);
    record.clip = clip < record.clip ? clip : record.clip;
  }
  if (first) {
    record.skipped = decision(record, deviations);
    if (record.skipped == Skipped::no) ++record.updates;
  } else if (record.skipped == Skipped::no && (!usable_norm(record) || record.fault != 0)) {
    record.skipped = Skipped::rest;
    record.left_from = bucket + 1;
  }
  if (last && record.skipped == Skipped::no) move_means(record);
}

}  // namespace bittern
