#include "ops/cpu/machine/parallel.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bittern/error.h"
#include "catch.h"
#include "ops/cpu/machine/no_signals.h"

using namespace bittern;
using namespace bittern::cpu;

namespace {
/// Restores the default thread count at the end of a test.
struct Threads {
  explicit Threads(int n) { set_thread_count(n); }
  ~Threads() { set_thread_count(0); }
};
}  // namespace

TEST_CASE("parallel_for: every part is done once, whatever the number of threads and parts") {
  for (const int threads : {1, 2, 3, 8}) {
    const Threads scope(threads);
    for (const std::int64_t parts : {0, 1, 2, 3, 7, 64, 1000}) {
      std::vector<std::atomic<int>> done(static_cast<std::size_t>(parts));
      parallel_for(parts, [&](std::int64_t part) { ++done[static_cast<std::size_t>(part)]; });
      for (const auto& count : done) REQUIRE(count == 1);
    }
  }
}

TEST_CASE("parallel_for: thousands of tiny calls in a row, with pauses that let the threads fall asleep") {
  const Threads scope(3);
  std::atomic<std::int64_t> sum{0};
  for (int call = 0; call < 20000; ++call) {
    parallel_for(4, [&](std::int64_t part) { sum += part; });
    if (call % 2000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(sum == 20000 * 6);
}

TEST_CASE("parallel_for: no two threads share a worker index, and indices stay below thread_count") {
  const Threads scope(8);
  std::vector<std::atomic<int>> inside(8);
  std::atomic<bool> shared{false};
  parallel_for(2000, [&](std::int64_t, int worker) {
    if (worker < 0 || worker >= thread_count() || inside[static_cast<std::size_t>(worker)]++ != 0) shared = true;
    --inside[static_cast<std::size_t>(worker)];
  });
  CHECK_FALSE(shared);
}

TEST_CASE("parallel_for: a smaller thread count is obeyed after a larger one") {
  set_thread_count(8);
  parallel_for(100, [](std::int64_t) {});
  const Threads scope(2);
  std::atomic<int> largest{0};
  for (int call = 0; call < 200; ++call)
    parallel_for(50, [&](std::int64_t, int worker) {
      int seen = largest;
      while (worker > seen && !largest.compare_exchange_weak(seen, worker)) {
      }
    });
  CHECK(largest <= 1);
}

TEST_CASE("parallel_for: the exception of a body reaches the caller and the pool goes on working") {
  for (const int threads : {1, 2, 8}) {
    const Threads scope(threads);
    for (const std::int64_t bad : {0, 57, 99}) {
      try {
        parallel_for(100, [&](std::int64_t part) {
          if (part == bad) throw failure("part {} is bad", part);
        });
        FAIL("no exception");
      } catch (const Error& e) {
        CHECK(e.what() == "part " + std::to_string(bad) + " is bad");
      }
    }
    std::atomic<int> done{0};
    parallel_for(100, [&](std::int64_t) { ++done; });
    CHECK(done == 100);
  }
}

TEST_CASE("parallel_for: a nested call runs serially, in order, as the worker it is in") {
  const Threads scope(4);
  std::atomic<bool> wrong{false};
  std::atomic<int> done{0};
  parallel_for(16, [&](std::int64_t, int worker) {
    std::int64_t next = 0;
    parallel_for(10, [&](std::int64_t part, int inner) {
      if (part != next++ || inner != worker) wrong = true;
      ++done;
    });
  });
  CHECK_FALSE(wrong);
  CHECK(done == 160);
}

TEST_CASE("parallel_for: two calling threads do not disturb each other") {
  const Threads scope(2);
  std::atomic<std::int64_t> sum{0};
  const auto work = [&] {
    for (int call = 0; call < 2000; ++call) parallel_for(8, [&](std::int64_t part) { sum += part; });
  };
  std::thread other(work);
  work();
  other.join();
  CHECK(sum == 2 * 2000 * 28);
}

TEST_CASE("parallel_for: threads that call at once share no worker index, whether their calls are serial or not") {
  const Threads scope(4);
  std::vector<std::atomic<int>> inside(4);
  std::atomic<bool> shared{false};
  const auto work = [&](std::int64_t parts) {
    for (int call = 0; call < 300; ++call)
      parallel_for(parts, [&](std::int64_t, int worker) {
        if (inside[static_cast<std::size_t>(worker)]++ != 0) shared = true;
        std::this_thread::yield();  // with fewer CPUs than threads, others come here now
        --inside[static_cast<std::size_t>(worker)];
      });
  };
  std::vector<std::thread> callers;
  for (const std::int64_t parts : {1, 1, 8, 8}) callers.emplace_back(work, parts);
  for (std::thread& caller : callers) caller.join();
  CHECK_FALSE(shared);
}

TEST_CASE("no_signals: an exception gives the mask back") {
  const auto blocked = [] {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, SIGTERM) == 1;
  };
  REQUIRE_FALSE(blocked());
  CHECK_THROWS_AS(
      [&] {
        const NoSignals scope;
        CHECK(blocked());
        throw std::bad_alloc();
      }(),
      std::bad_alloc);
  CHECK_FALSE(blocked());
}

TEST_CASE("set_thread_count: 0 means every CPU, nonsense is refused") {
  set_thread_count(0);
  CHECK(thread_count() >= 1);
  CHECK_THROWS_AS(set_thread_count(-1), Error);
  CHECK_THROWS_AS(set_thread_count(100000), Error);
}
