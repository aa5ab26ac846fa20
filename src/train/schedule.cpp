// Computes the learning rate and the weight decay of a step.
#include "bittern/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bittern {
namespace {

bool in_second_stage(const ScheduleSection& schedule, std::int64_t steps, std::int64_t step) {
  return schedule.shape == "two_stage" && step >= steps - step;
}

}  // namespace

std::int64_t warmup_steps(const ScheduleSection& schedule, std::int64_t steps) {
  if (schedule.warmup_fraction > 0) return std::llround(schedule.warmup_fraction * static_cast<double>(steps));
  return std::min(schedule.warmup_steps, steps);
}

double learning_rate(const ScheduleSection& schedule, std::int64_t steps, std::int64_t step) {
  const std::int64_t warmup = warmup_steps(schedule, steps);
  const double peak = in_second_stage(schedule, steps, step) ? schedule.second_lr : schedule.lr;
  const auto part = [](std::int64_t done, std::int64_t of) {
    return static_cast<double>(done) / static_cast<double>(of);
  };
  if (step < warmup) return peak * (schedule.start_factor + (1.0 - schedule.start_factor) * part(step, warmup));

  std::int64_t decay_starts = warmup;
  if (schedule.shape == "wsd")
    decay_starts = std::max(
        warmup, steps - static_cast<std::int64_t>(std::llround(schedule.decay_fraction * static_cast<double>(steps))));
  if (schedule.shape == "constant" || step <= decay_starts) return peak;
  const double p = part(step - decay_starts, steps - decay_starts);
  const double left = schedule.shape == "cosine" ? 0.5 * (1.0 + std::cos(std::numbers::pi * p)) : 1.0 - p;
  const double end = schedule.final_lr > 0 ? schedule.final_lr : schedule.lr * schedule.final_factor;
  return end + (peak - end) * left;
}

double weight_decay(const RunConfig& config, std::int64_t step) {
  return in_second_stage(config.schedule, config.train.steps, step) ? config.schedule.second_weight_decay
                                                                    : config.optimizer.weight_decay;
}

bool same_rates(const RunConfig& before, const RunConfig& after, std::int64_t steps) {
  if (steps > most_compared_steps) return false;
  const auto rate = [](const RunConfig& config, std::int64_t step) {
    return learning_rate(config.schedule, config.train.steps, step);
  };
  for (std::int64_t step = 1; step <= steps; ++step)
    if (rate(before, step) != rate(after, step) || weight_decay(before, step) != weight_decay(after, step))
      return false;
  return true;
}

}  // namespace bittern
