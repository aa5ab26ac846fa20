// decide_step: adds the shares' sums, decides whether the update is made, and moves the running means where it is.
//   OVERWRITES skipped; ACCUMULATES sums, updates and means of the record.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "ops/cpu/backend.h"
#include "ops/cpu/step_record_views.h"

namespace bittern::cpu {
namespace {

constexpr std::int64_t mean_over = 100;  // updates; the guard begins once the means are of so many

/// Whether x is more than so many standard deviations above its mean. A spike upward does harm; a fall does not.
bool far_above(double x, double mean, double mean_square, double deviations) {
  const double variance = std::max(mean_square - mean * mean, 0.0);
  return x > mean + deviations * std::sqrt(variance);
}

void move(double& mean, double x, double weight) {
  mean += weight * (x - mean);
}

/// Gradients so large that a second moment, which holds their squares, would be infinite and stay so: the weight would
/// never move again. The square of this is below the largest fp32 number.
constexpr double largest_gradient = 1e19;

Skipped decision(const StepRecord& record, double loss, double norm, double deviations) {
  if (!std::isfinite(loss) || !std::isfinite(norm) || record.sums.targets == 0 || record.fault != 0 ||
      norm * static_cast<double>(record.clip) > largest_gradient)
    return Skipped::not_finite;
  const RunningMeans& means = record.means;
  if (deviations > 0.0 && means.steps >= mean_over &&
      (far_above(loss, means.loss, means.loss_square, deviations) ||
       far_above(norm, means.norm, means.norm_square, deviations)))
    return Skipped::far_from_mean;
  return Skipped::no;
}

}  // namespace

void CpuBackend::do_decide_step(const DecideStep& args) {
  StepRecord& record = record_at(args.record);
  for (std::int64_t share = 0; share < args.shares.rows() && args.shares; ++share) {
    const LossSums& other = sums_at(args.shares.slice_rows(share, 1));
    record.sums.loss += other.loss;
    record.sums.lse_squared += other.lse_squared;
    record.sums.targets += other.targets;
  }
  const double loss = record.sums.loss / static_cast<double>(record.sums.targets);
  const double norm = static_cast<double>(record.norm);
  record.skipped = decision(record, loss, norm, static_cast<double>(args.deviations));
  if (record.skipped != Skipped::no) return;
  ++record.updates;
  RunningMeans& means = record.means;
  means.steps = std::min(means.steps + 1, mean_over);
  const double weight = 1.0 / static_cast<double>(means.steps);
  move(means.loss, loss, weight);
  move(means.loss_square, loss * loss, weight);
  move(means.norm, norm, weight);
  move(means.norm_square, norm * norm, weight);
}

}  // namespace bittern::cpu
