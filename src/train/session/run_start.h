// How a run was begun: RUN/start.json, which the same command goes on by, and RUN/fork.json, which says what a forked
// run was made from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/session/run_folder.h"

namespace bittern {

/// What the command that began a run asked for: a path each; at most one of them is not empty.
struct Start {
  std::string init, resume, fork;
  /// The folder of weights, or the checkpoint, that the path came to: a run's newest then. Empty: an older program began
  /// the run, or it began with fresh weights.
  std::string folder = {};

  bool same_command(const Start& other) const {
    return init == other.init && resume == other.resume && fork == other.fork;
  }
  /// "--fork runs/a", ...; empty: fresh weights.
  std::string option() const;
};

/// None where the folder says nothing. Refuses a file that says something else.
std::optional<Start> read_start(const RunFolder& folder);
void write_start(const RunFolder& folder, const Start& start);

/// What a run was forked from.
struct Fork {
  std::string checkpoint;
  std::int64_t step = 0;
  std::vector<std::string> changed;  ///< "path: before -> after", of the config; and of the data
};
void write_fork(const RunFolder& folder, const Fork& fork);

}  // namespace bittern
