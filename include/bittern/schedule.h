// schedule: the learning rate of each step. Steps count from 1; the first update's rate is above zero, the last one's
// is exactly lr * final_factor.
//   warm-up, step <= W:     lr * (start_factor + (1 - start_factor) * step / W)
//   constant                lr
//   linear                  lr * (1 - (1 - final_factor) * p)                     p = (step - W) / (steps - W)
//   cosine                  lr * (final_factor + (1 - final_factor) * (1 + cos(pi p)) / 2)
//   wsd                     lr, then linear over the last decay_fraction of the steps (warmup-stable-decay, MiniCPM
//   2404.06395)
#pragma once

#include <cstdint>

#include "bittern/config.h"

namespace bittern {

std::int64_t warmup_steps(const ScheduleSection& schedule, std::int64_t steps);
double learning_rate(const ScheduleSection& schedule, std::int64_t steps, std::int64_t step);

}  // namespace bittern
