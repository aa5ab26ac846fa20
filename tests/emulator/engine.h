// The engine of the emulated device: runs the threads of a grid on one thread of the host. Each of them is a fiber, which
// is left only where CUDA's threads wait for one another: at a barrier, or in an operation that the lanes of a warp do
// together. A thread gets a stack when it begins, and one that ends without having waited hands its stack to the next:
// a kernel without barriers runs like a loop.
//
// Blocks run one after another, each to its end. What a kernel must not do (a barrier that some threads never reach, a
// shuffle from a lane that takes no part, ...) ends the grid with an exception of type Fault on the host, whose message
// says which threads wait where.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "emulator/fiber.h"

namespace emulator {

/// A kernel did what CUDA leaves undefined, or the host what it must not do with the device.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A line of a kernel, or of what launches it.
struct Line {
  const char* file;
  unsigned line;
  static constexpr Line here(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

struct Block;

/// A thread of the device.
struct Thread {
  uint3 threadIdx, blockIdx;
  unsigned lane, warp;
  Block* block;
  std::uint64_t priority = 0;      ///< who runs first in a random order
  Fiber* fiber = nullptr;          ///< none before it begins
  const char* waits_in = nullptr;  ///< the operation that it waits in
  Line waits_at{};
  struct LateCopy {
    void* to;
    const void* from;
    unsigned bytes, group;
  };
  std::vector<LateCopy> late_copies;  ///< of cp.async, not yet waited for
  unsigned copy_group = 0;
};

struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};

/// The thread that runs now, null on the host, and the shape of its grid.
extern thread_local Thread* self;
extern thread_local LaunchShape shape;

/// Runs `body` once for each thread of the grid and returns when all have ended.
void run_grid(const LaunchShape& grid, Line launched, const std::function<void()>& body);

/// The order in which threads and blocks run. 0: by index. Any other number: blocks in random order, warps by random
/// priorities that are drawn anew at barriers, so that some warp gets as far ahead of the others as the barriers allow.
/// That is what makes a missing barrier show.
void set_schedule(std::uint64_t seed);
std::uint32_t random_bits();  ///< of the schedule; 0 in the order by index

struct Counters {
  std::uint64_t launches = 0, blocks = 0, threads = 0, switches = 0;
};
Counters& counters();

/// Memory filled with 0xFF, which is NaN in every float type. Freed by std::free.
void* poisoned(std::size_t bytes, std::size_t alignment);
/// The block's dynamic shared memory.
std::byte* shared_memory();

/// All threads of the block wait for one another.
void barrier(const char* what, Line where);

/// The lanes of the caller's warp that `mask` names hand in `in`. The last one to arrive runs `combine`, which reads all
/// inputs and writes all outputs (null where a lane takes no part). Then all go on, each with its own output.
using Combine = void (*)(void* context, const void* const* in, void* const* out);
void collective(const char* what, std::uint32_t mask, const void* in, void* out, Combine combine, void* context,
                Line where);

/// The same with types: combine(const In* const* in, Out* const* out).
template <class Out, class In, class F>
Out collective(const char* what, std::uint32_t mask, const In& in, F&& combine, Line where) {
  Out result{};
  collective(
      what, mask, &in, &result,
      [](void* context, const void* const* inputs, void* const* outputs) {
        (*static_cast<std::remove_reference_t<F>*>(context))(reinterpret_cast<const In* const*>(inputs),
                                                             reinterpret_cast<Out* const*>(outputs));
      },
      const_cast<void*>(static_cast<const void*>(&combine)), where);
  return result;
}

/// Ends the grid, or throws at once on the host. The text is printf's.
[[noreturn]] void fail(Line where, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace emulator
