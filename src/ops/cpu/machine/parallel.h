// parallel_for: the one place that knows how threads are started, handed work and waited for.
//
//   parallel_for(parts, [&](std::int64_t part) { ... });
//   parallel_for(parts, [&](std::int64_t part, int worker) { ... scratch[worker] ... });
//
// Parts are handed out in ascending order, each to whichever thread is free; all are done when parallel_for returns.
// What a part is must follow from shapes alone, never from thread_count(): then bits do not depend on the number of
// threads.
//
//   - `worker` is in [0, thread_count()); no two threads have the same one at a time.
//   - An exception of a body reaches the caller; parts not yet handed out are dropped.
//   - A call inside a body is done serially by its caller, as the worker that it is.
//   - A call from a second thread waits until the first one's is done. A body must not wait for another thread's call.
//   - A thread that finds no work spins for some tens of microseconds, then sleeps. A sleeper that wakes too late for a
//     call is not waited for, so processes that share cores do not stand still for each other.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace bittern::cpu {

/// Threads that share the work, the caller included. At first: every CPU of the process's affinity mask.
int thread_count();

/// Sets thread_count(); 0 = every CPU of the affinity mask. Not from inside a parallel_for.
void set_thread_count(int count);

namespace detail {
using RunPart = void (*)(void* body, std::int64_t part, int worker);
void run_parts(std::int64_t parts, RunPart run, void* body);
}  // namespace detail

template <class F>
void parallel_for(std::int64_t parts, F&& body) {
  using Body = std::remove_reference_t<F>;
  const auto run = [](void* opaque, std::int64_t part, int worker) {
    Body& f = *static_cast<Body*>(opaque);
    if constexpr (std::is_invocable_v<Body&, std::int64_t, int>)
      f(part, worker);
    else
      f(part);
  };
  detail::run_parts(parts, run, const_cast<void*>(static_cast<const void*>(std::addressof(body))));
}

}  // namespace bittern::cpu
