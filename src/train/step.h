// step: one step of training, from the sequences to the updated weights.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "bittern/metrics.h"
#include "train/session/session.h"

namespace bittern {

/// The sequences of one step, read by their global sample index.
struct Batch {
  std::vector<std::int32_t> tokens, targets;
  std::int64_t total_targets = 0;  ///< of `targets`, those that are not ignored (negative)

  Batch(const Session& session, std::int64_t step);
};

/// One step on its batch; nothing if a stop was asked for before it was finished. A loss or gradients that are not
/// finite, or a batch without targets, change no weight and no moment, and the step is counted as skipped.
std::optional<StepMetrics> train_step(Session& session, TrainingState& state, const Batch& batch);

}  // namespace bittern
