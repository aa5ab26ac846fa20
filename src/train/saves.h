// Saves: the checkpoints of a run: those at an interval, and the one at the end, when nothing trains. At an interval
// (train.snapshot) either all of it is copied, and a thread writes the copy while training goes on; or there is no memory
// for the copy, and training pauses until it is written, a piece at a time. Both write the same bytes.
//
// A run that diverges must not replace what it has learned by what it has become:
//   at an interval   nothing is saved and nothing pruned while the last step was skipped, or where a number is not finite
//   at the end       (a stop, too) the last finished step is saved whatever it is, and nothing is pruned then
//   always           the newest checkpoint that a step with an update followed is kept (TrainingState::proven_checkpoint)
// A save that fails ends the run only where no older checkpoint is whole, or at the end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bittern/checkpoint.h"
#include "train/data_check.h"
#include "train/session/session.h"
#include "train/watchers.h"

namespace bittern {

/// The checkpoint of the last finished step. `from_snapshot`: of the copy that take_snapshot made.
CheckpointContents checkpoint_contents(const Session& session, const TrainingState& state, bool from_snapshot);

/// Says where the disk of the run's folder has no room for the checkpoints that train.keep_checkpoints asks for.
void warn_where_checkpoints_do_not_fit(const Session& session, const TrainingState& state);

class Saves {
 public:
  /// All of these must outlive it. `state` is that of the last finished step whenever one of the functions is called.
  Saves(const Session& session, TrainingState& state, Watchers& watchers, DataCheck& data_check);

  /// After every step: takes note of a save that has ended, and of what the step says about the newest checkpoint.
  void after_step();

  /// Saves the last finished step, unless that step was skipped. With a snapshot: begins to copy it; once it is copied,
  /// the thread that writes gets it. Without: returns when it is written, or has failed.
  void begin();

  /// How long begin() took since this was asked for, in milliseconds; none: it saved nothing.
  std::optional<double> take_pause() { return std::exchange(pause_ms_, std::nullopt); }

  /// Writes the last finished step from the device's memory, a piece at a time. Nothing changes it meanwhile. For the end
  /// of a run: a failure is thrown.
  void now();

  /// A save has failed before any checkpoint of the run was whole: now() is to be called once nothing is ahead of the
  /// last finished step.
  bool owed() const { return owed_; }

  /// Returns when nothing is being written any more.
  void wait() { settle(true); }

  /// RUN/checkpoints/step_N of the newest checkpoint that a step with an update followed; empty: there is none.
  std::string newest_proven() const;

 private:
  /// Takes note of what the last finished step says about the newest checkpoint; true where that is news.
  bool proves_newest();
  void write_copied(bool wait);
  void write_in_pieces();
  void settle(bool wait);
  void saved(std::int64_t step);
  void failed(const Error& error);
  std::string path_of(std::int64_t step) const;

  const Session& session_;
  TrainingState& state_;
  Watchers& watchers_;
  DataCheck& data_check_;
  CheckpointWriter writer_;
  std::int64_t newest_ = -1;                  // the step of the newest checkpoint in the run's folder
  std::int64_t writing_ = -1;                 // the step that is being copied or written
  Ticket copying_;                            // reached: the copy is whole
  std::optional<CheckpointContents> copied_;  // what is to be written then; nothing once the writer has it
  std::int64_t failed_in_a_row_ = 0;
  bool owed_ = false;
  std::optional<double> pause_ms_;
  bool pruning_ = false;  // the writer's work is to remove old checkpoints
};

}  // namespace bittern
