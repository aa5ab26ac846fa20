// StepRecord: what a training step tells the next one and the host. One lies in the back end's memory. The ops of a
// step write it (begin_step, add_losses, norm_of_parts, decide_step), the update reads it, and the host reads a copy
// when the step is done, so nothing inside a step waits for the host.
//
// Plain numbers: kernels, the CPU's ops and the training loop read the same bytes.
#pragma once

#include <cstdint>

namespace bittern {

/// Sums over the rows with a target, in double.
struct LossSums {
  double loss = 0;         ///< cross entropy
  double lse_squared = 0;  ///< for the z-loss
  std::int64_t targets = 0;
};
static_assert(sizeof(LossSums) == 24);

/// Why a step changes no weight, no moment and no t; or only some of them.
enum class Skipped : std::uint32_t {
  no = 0,             ///< the update is made
  not_finite = 1,     ///< the loss or the norm is not finite, or too large to be squared, or no row has a target
  far_from_mean = 2,  ///< the loss or the norm is too far above its running mean (train.skip_deviations)
  /// With train.fused_backward: gradients were not finite, or too large, when others were used already. Theirs and the
  /// updates after them are not made; those before them are, and t counts the step.
  rest = 3
};

/// Means over the steps that made an update: of all of them up to the 100th, then each new one counts 1/100.
struct RunningMeans {
  double loss = 0, loss_square = 0;
  double norm = 0, norm_square = 0;
  std::int64_t steps = 0;  ///< how many updates they are of
  bool operator==(const RunningMeans&) const = default;
};

struct StepRecord {
  LossSums sums{};                ///< of this step's micro-batches so far
  std::int64_t updates = 0;       ///< updates made in this run, this step's included: Adam's t
  float norm = 0;                 ///< of all gradients
  float clip = 0;                 ///< what the update multiplies the gradients by
  Skipped skipped = Skipped::no;  ///< decide_step's answer
  std::uint32_t fault = 0;        ///< 0, or 1 + the place in OpArgs of an op that met a wrong id; it stays
  std::int64_t fault_at = 0;      ///< the row of the first one
  RunningMeans means{};
  std::int64_t left_from = 0;  ///< with Skipped::rest: 1 + the first bucket (layer_events.h) that was not updated
  std::int64_t unused[3] = {};
};
static_assert(sizeof(StepRecord) == 128);

/// Bytes of a record as a planned tensor, and of its sums.
inline constexpr std::int64_t step_record_bytes = sizeof(StepRecord), loss_sums_bytes = sizeof(LossSums);

}  // namespace bittern
