// Profile: what each op took. Every op's public function (src/ops/NAME.cpp) opens an OpScope with the op's cost; `--profile
// N` prints the sums against the machine's limits.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string_view>

#include "bittern/ops.h"

namespace bittern {

struct OpCost {
  std::int64_t calls = 0;
  double seconds = 0.0;
  double bytes = 0.0;
  double flops = 0.0;
};

/// Sums by op name. Used from one thread: the one that runs the model.
class Profile {
 public:
  void add(std::string_view op, double seconds, const Cost& work) {
    OpCost& cost = costs_[op];
    ++cost.calls;
    cost.seconds += seconds;
    cost.bytes += work.bytes;
    cost.flops += work.flops;
  }
  const std::map<std::string_view, OpCost>& costs() const { return costs_; }
  void clear() { costs_.clear(); }

  /// The profile that ops report to; none by default, and then an OpScope costs one comparison.
  static Profile*& current() {
    static Profile* profile = nullptr;
    return profile;
  }

 private:
  std::map<std::string_view, OpCost> costs_;  // names are string literals
};

/// Lives as long as one op runs.
class OpScope {
 public:
  OpScope(std::string_view op, const Cost& cost) : op_(op), cost_(cost) {
    if (Profile::current()) start_ = std::chrono::steady_clock::now();
  }
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;
  ~OpScope() {
    if (Profile* profile = Profile::current())
      profile->add(op_, std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(), cost_);
  }

 private:
  std::string_view op_;
  Cost cost_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace bittern
