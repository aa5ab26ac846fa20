// Saves: the checkpoints of a run: those that a thread writes while training goes on, and the one that is written when
// nothing trains.
#pragma once

#include <cstdint>
#include <optional>

#include "bittern/checkpoint.h"
#include "train/data_check.h"
#include "train/session/session.h"
#include "train/watchers.h"

namespace bittern {

/// The checkpoint of the last finished step. `from_snapshot`: of the copy that take_snapshot made.
CheckpointContents checkpoint_contents(const Session& session, const TrainingState& state, bool from_snapshot);

class Saves {
 public:
  /// All of these must outlive it. `state` is that of the last finished step whenever one of the functions is called.
  Saves(const Session& session, const TrainingState& state, Watchers& watchers, DataCheck& data_check);

  /// Begins to copy the last finished step; once it is copied, settle() hands it to the thread that writes.
  void begin();

  /// Takes note of a save that has ended. One that failed (a full disk?) is said at once and tried again with the
  /// present step; if that fails too, the run ends with the reason, and the checkpoints before are untouched.
  void settle(bool wait);

  /// Writes the last finished step from the device's memory, a piece at a time. Nothing changes it meanwhile.
  void now();

  /// The step of the newest checkpoint; -1: there is none.
  std::int64_t newest() const { return newest_; }

 private:
  void write_copied(bool wait);

  const Session& session_;
  const TrainingState& state_;
  Watchers& watchers_;
  DataCheck& data_check_;
  CheckpointWriter writer_;
  std::int64_t newest_;
  std::int64_t writing_ = -1;                 // the step that is being copied or written
  Ticket copying_;                            // reached: the copy is whole
  std::optional<CheckpointContents> copied_;  // what is to be written then; nothing once the writer has it
};

}  // namespace bittern
