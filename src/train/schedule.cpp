#include "bittern/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bittern {

std::int64_t warmup_steps(const ScheduleSection& schedule, std::int64_t steps) {
  if (schedule.warmup_fraction > 0) return std::llround(schedule.warmup_fraction * static_cast<double>(steps));
  return std::min(schedule.warmup_steps, steps);
}

double learning_rate(const ScheduleSection& schedule, std::int64_t steps, std::int64_t step) {
  const std::int64_t warmup = warmup_steps(schedule, steps);
  const auto part = [](std::int64_t done, std::int64_t of) {
    return static_cast<double>(done) / static_cast<double>(of);
  };
  if (step < warmup) return schedule.lr * (schedule.start_factor + (1.0 - schedule.start_factor) * part(step, warmup));

  std::int64_t decay_starts = warmup;
  if (schedule.shape == "wsd")
    decay_starts = std::max(
        warmup, steps - static_cast<std::int64_t>(std::llround(schedule.decay_fraction * static_cast<double>(steps))));
  if (schedule.shape == "constant" || step <= decay_starts) return schedule.lr;
  const double p = part(step - decay_starts, steps - decay_starts);
  const double left = schedule.shape == "cosine" ? 0.5 * (1.0 + std::cos(std::numbers::pi * p)) : 1.0 - p;
  return schedule.lr * (schedule.final_factor + (1.0 - schedule.final_factor) * left);
}

}  // namespace bittern
