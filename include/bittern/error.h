// Errors: one exception type whose message is made for a person, and the exit code it leads to.
//
// A message says what is wrong, where, what was expected and how to mend it:
//   throw input_error("configs/a.json: train.steps is -3; expected a whole number of at least 1");
#pragma once

#include <spdlog/fmt/fmt.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace bittern {

/// The process's exit codes (docs/guide.md).
enum class ExitCode : int {
  ok = 0,
  failure = 1,      ///< anything that is not the user's input: a full disk, a broken invariant
  bad_input = 2,    ///< arguments, config or data are wrong
  interrupted = 75  ///< stopped on request after saving; run again to go on
};

/// The only exception type that bittern throws on purpose.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode exit_code() const { return code_; }

 private:
  ExitCode code_;
};

/// Something the user gave is wrong (exit code 2).
template <typename... Args>
Error input_error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(ExitCode::bad_input, fmt::format(format, std::forward<Args>(args)...));
}

/// Anything else (exit code 1).
template <typename... Args>
Error failure(fmt::format_string<Args...> format, Args&&... args) {
  return Error(ExitCode::failure, fmt::format(format, std::forward<Args>(args)...));
}

/// An invariant between two pieces of bittern, as a sentence: check(x.dtype == f32, "rmsnorm: x must be f32, got {}",
/// ...).
template <typename... Args>
void check(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    throw failure(format, std::forward<Args>(args)...);
}

}  // namespace bittern
