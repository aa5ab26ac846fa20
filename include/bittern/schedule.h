// schedule: the learning rate and the weight decay of each step. Steps count from 1. The first step's rate is above zero
// (where `end` is 0, unless the first step is also the last).
//   warm-up, step <= W:     lr * (start_factor + (1 - start_factor) * step / W)
//   constant                lr
//   linear                  end + (lr - end) * (1 - p)                            p = (step - W) / (steps - W)
//   cosine                  end + (lr - end) * (1 + cos(pi p)) / 2
//   wsd                     lr, then linear over the last decay_fraction of the steps (warmup-stable-decay, MiniCPM
//                           2404.06395)
//   two_stage               linear; from step >= steps / 2 on the line of a warm-up to second_lr instead, and the
//                           weight decay is second_weight_decay (BitNet b1.58, "Training Tips, Code and FAQ", figure 1)
// `end` is final_lr, or lr * final_factor where final_lr is 0. The last step's rate is exactly `end`, with three
// exceptions, whose last rate is the highest one: shape constant; wsd where decay_fraction rounds to no step; a warm-up
// that takes all steps (two_stage: the highest is second_lr there).
#pragma once

#include <cstdint>

#include "bittern/config.h"

namespace bittern {

/// W: warmup_fraction of the steps, or warmup_steps where that is 0; at most all of them.
std::int64_t warmup_steps(const ScheduleSection& schedule, std::int64_t steps);
double learning_rate(const ScheduleSection& schedule, std::int64_t steps, std::int64_t step);
double weight_decay(const RunConfig& config, std::int64_t step);
/// Whether steps 1 to `steps` have the same rate and the same decay under both configs, bit for bit. They are compared one
/// by one (a tenth of a microsecond each); of more than most_compared_steps it is not said that they are the same.
inline constexpr std::int64_t most_compared_steps = std::int64_t{1} << 24;
bool same_rates(const RunConfig& before, const RunConfig& after, std::int64_t steps);

}  // namespace bittern
