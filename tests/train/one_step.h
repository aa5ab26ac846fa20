// The parts of a step, one by one, for tests that look between them.
#pragma once

#include <cstdint>
#include <span>

#include "bittern/step_record.h"
#include "bittern/step_record_tensors.h"
#include "train/session/session.h"

namespace bittern {

inline StepRecord record_of(const Session& run) {
  StepRecord record;
  run.backend->to_host(&record, run.optimizer->record(*run.arena).data, sizeof record);
  return record;
}

/// Forward and backward of a micro-batch. Returns the sums of its losses.
inline LossSums forward_backward(const Session& run, std::span<const std::int32_t> tokens,
                                 std::span<const std::int32_t> targets, std::int64_t total_targets, bool first) {
  const Tensor record = run.optimizer->record(*run.arena);
  run.backend->begin_step({.record = record});
  run.model->forward_backward({.tokens = tokens, .targets = targets, .total_targets = total_targets}, sums_of(record),
                              first);
  return record_of(run).sums;
}

/// The update of the gradients as they are: number `update` of the run, in training step `step`. Returns their norm.
inline float update_weights(const Session& run, double lr, double weight_decay, std::int64_t update,
                            std::int64_t step) {
  StepRecord record = record_of(run);
  record.updates = update - 1;
  record.sums = {.loss = 1.0, .lse_squared = 1.0, .targets = 1};  // a step that is not skipped
  run.optimizer->set_record(*run.arena, record);
  run.optimizer->square_parts(*run.arena, run.model->parameters());
  run.optimizer->decide(*run.arena);
  run.optimizer->step(*run.arena, run.model->parameters(), lr, weight_decay, update, step);
  return record_of(run).norm;
}

}  // namespace bittern
