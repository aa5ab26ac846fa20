// run_in_child: a function in a process of its own, for work inside a library that can neither be stopped nor watched.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace bittern {

/// What the child said and how it ended.
struct ChildResult {
  std::string answer;  ///< what `work` returned
  int signal = 0;      ///< that ended it; 0: none
  bool answered = false;
};

/// Forks; the child returns `work()`, and what it writes to stderr comes to `said`, in whole lines. `wait` is called some
/// times a second; if it throws, the child is killed. The child hears no SIGINT and no SIGTERM and ends with its parent.
/// `work` must not need other threads, and must not throw.
ChildResult run_in_child(const std::function<std::string()>& work, const std::function<void(std::string_view)>& said,
                         const std::function<void()>& wait);

}  // namespace bittern
