// How a run of many ranks ends when one of them meets an error: one message, the first one, and its exit code.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bittern/world.h"

namespace bittern {

/// RUN/failure.json of a run that failed: who failed, where, and why.
struct FailureNote {
  int rank = 0;
  std::string host{}, message{};
  std::int64_t step = 0;
  int code = 1;
};

/// Writes the note unless another rank has written its own: what all meet alike, and the broken connections that follow a
/// first failure, are then told once. True for who wrote it. Where the folder cannot be written, all may.
bool write_failure(const std::string& run_folder, const FailureNote& note);

/// Ends all ranks because of what this one has met: writes the note, prints the message on standard error where it is the
/// first, and ends with its code. `run_folder`: empty where there is none yet.
[[noreturn]] void fail_together(World& world, const std::string& run_folder, std::int64_t step, ExitCode code,
                                std::string_view message);

/// The note that an earlier start left, as a sentence, which is removed; empty: there is none.
std::string take_failure(const std::string& run_folder);

}  // namespace bittern
