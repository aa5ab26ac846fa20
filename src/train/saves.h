// Saves: checkpoints written by a thread while training goes on, and the one that is written when nothing trains.
#pragma once

#include <cstdint>

#include "bittern/checkpoint.h"
#include "train/training.h"
#include "train/watchers.h"

namespace bittern {

/// Writes the last finished step straight from the weights, which nothing changes meanwhile.
void checkpoint_now(Training& t, Watchers& watchers);

/// Checkpoints that the writer thread writes while training goes on.
class BackgroundSaves {
 public:
  explicit BackgroundSaves(const Training& t) : writer_(t.folder->path(), t.config.train.keep_checkpoints) {}

  /// Copies the last finished step and hands it to the writer.
  void begin(Training& t, Watchers& watchers);

  /// Takes note of a save that has ended. One that failed (a full disk?) is said at once and tried again with the
  /// present step; if that fails too, the run ends with the reason, and the checkpoints before are untouched.
  void settle(Training& t, Watchers& watchers, bool wait);

 private:
  CheckpointWriter writer_;
  std::int64_t writing_ = -1;  // the step that is being written
};

}  // namespace bittern
