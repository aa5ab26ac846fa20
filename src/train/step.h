// step: one step of training, from the sequences to the updated weights.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "bittern/error.h"
#include "bittern/metrics.h"
#include "train/session/session.h"

namespace bittern {

/// The sequences of one step, read by their global sample index.
struct Batch {
  std::vector<std::int32_t> tokens, targets;
  std::int64_t total_targets = 0;  ///< of `targets`, those that are not ignored (negative)

  Batch(const Session& session, std::int64_t step);
};

/// An op of a step met what the host should have refused. Nothing was updated in that step or after it.
struct StepFault : Error {
  using Error::Error;
};

/// Steps that were given to the back end and that the host has not looked at yet: at most BackendTraits::steps_ahead and
/// the one that is being given. `state` is that of the last step that was finished; the memory may be ahead of it, and is
/// the state's only when nothing is waiting.
class StepsAhead {
 public:
  StepsAhead(Session& session, TrainingState& state) : session_(session), state_(state) {}

  std::int64_t waiting() const { return static_cast<std::int64_t>(waiting_.size()); }
  /// The number of the step that enqueue() begins.
  std::int64_t next_step() const { return state_.step + waiting() + 1; }
  /// Gives the next step to the back end. False if a stop was asked for on the way: then it changes nothing.
  bool enqueue(const Batch& batch);
  /// Waits for the oldest of them and takes its numbers into the state; a StepFault leaves that as it was. A loss or
  /// gradients that are not finite, or a batch without targets, have changed no weight and no moment: the step is counted
  /// as skipped. (With train.fused_backward some may have changed: StepMetrics::left_from_bucket.)
  StepMetrics finish();

 private:
  struct Pending {
    std::int64_t step, tokens, targets;
    double lr, started;
    StepRecord* copy = nullptr;
    Ticket ticket{};
  };
  Session& session_;
  TrainingState& state_;
  std::deque<Pending> waiting_;
  double last_finish_ = 0;
};

/// One step, looked at as soon as it is given; nothing if a stop was asked for before it was finished.
std::optional<StepMetrics> train_step(Session& session, TrainingState& state, const Batch& batch);

}  // namespace bittern
