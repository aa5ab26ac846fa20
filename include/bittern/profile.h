// Profile: what each op cost. Every op's checked entry opens an OpScope with the bytes it must move (each input read
// once, each output written once) and the floating-point operations it does; `--profile N` prints the sums against the
// machine's limits.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string_view>

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
  void add(std::string_view op, double seconds, double bytes, double flops) {
    OpCost& cost = costs_[op];
    ++cost.calls;
    cost.seconds += seconds;
    cost.bytes += bytes;
    cost.flops += flops;
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
  OpScope(std::string_view op, double bytes, double flops = 0.0) : op_(op), bytes_(bytes), flops_(flops) {
    if (Profile::current()) start_ = std::chrono::steady_clock::now();
  }
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;
  ~OpScope() {
    if (Profile* profile = Profile::current())
      profile->add(op_, std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(), bytes_,
                   flops_);
  }

 private:
  std::string_view op_;
  double bytes_, flops_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace bittern
