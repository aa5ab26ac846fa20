// What tests may ask of the emulated device beyond CUDA's own interface: which machine it is, in which order it works, and
// what it counted.
#pragma once

#include <cstdint>

#include "emulator/engine.h"

namespace emulator {

/// The machine that CUDA's functions tell of. A test may change it before it makes a back end.
struct Machine {
  int driver = 13000;  ///< as cudaDriverGetVersion gives it; 0: none is installed
  int devices = 1;
  int sm = 90;                                   ///< 80, 86, 89, 90, 100 or 120: its limits are enforced
  int multiprocessors = 4;                       ///< few, so that loops over them loop in small tests
  std::int64_t memory = std::int64_t{64} << 30;  ///< of each device
  std::int64_t pinned_memory = std::int64_t{64} << 30;
};
Machine& machine();

/// Work of a stream is done `at_once`, or `late`: not before somebody waits for it, and then in an order that only events
/// and waiting constrain. So memory that is used again too early shows.
enum class Streams { at_once, late };
void set_streams(Streams streams);

/// The device's memory can be touched by kernels and copies alone: a host that follows one of its addresses ends with a
/// segmentation fault. Slow; not under sanitizers.
void set_protection(bool on);

/// After so many more launches and copies the device breaks down: every function of CUDA returns the error from then on,
/// as after an illegal address. Negative: never.
void set_breakdown(int after);

/// Calls of CUDA that wait for the device, so far.
std::int64_t blocking_calls();
/// Memory of the device in use now, and the most so far.
std::int64_t used_memory();
std::int64_t peak_memory();

}  // namespace emulator
