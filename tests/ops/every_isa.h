// on_every_isa: a test's body in every instruction set that this machine can run. What a test changes of the process's
// settings is put back when it ends, also by an exception, which a failed REQUIRE is.
#pragma once

#include <optional>

#include "catch.h"
#include "ops/cpu/machine/cpu_features.h"
#include "ops/cpu/machine/parallel.h"

namespace bittern::cpu {

/// Puts the instruction set and the number of threads back, and lets the CPU choose how integers are summed.
class Settings {
 public:
  Settings() = default;
  Settings(const Settings&) = delete;
  Settings& operator=(const Settings&) = delete;
  ~Settings() {
    set_isa(isa_before_);
    set_thread_count(threads_before_);
    force_int8_dot(std::nullopt);
  }

 private:
  Isa isa_before_ = isa();
  int threads_before_ = thread_count();
};

template <class Body>
void on_every_isa(const Body& body) {
  const Settings settings;
  for (const Isa each : available_isas()) {
    set_isa(each);
    INFO("instruction set " << name(each));
    body();
  }
}

}  // namespace bittern::cpu
