// The thread pool behind parallel_for: starts threads, hands them parts, and waits for them.
#include "ops/cpu/machine/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <iterator>
#include <mutex>
#include <system_error>
#include <thread>

#include "bittern/error.h"
#include "ops/cpu/machine/no_signals.h"

namespace bittern::cpu {
namespace {

// Long enough to bridge the serial code between two ops, short enough not to starve another process on the same cores:
// spinning for milliseconds costs two processes of two threads on two cores five sixths of their speed, sleeping at
// once costs every small op a wake-up of about 60 microseconds (both seen with an OpenMP pool on a Zen 5 under KVM).
constexpr std::chrono::microseconds spin_time{50};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Spins until `done()` or for spin_time; says whether it was done.
template <class F>
bool spin_until(F done) {
  if (done()) return true;
  const auto deadline = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int i = 0; i < 16; ++i) {
      pause();
      if (done()) return true;
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

/// Where one thread sleeps until a condition that others make true. wake() costs one load while nobody sleeps.
class Bed {
 public:
  template <class F>
  void sleep_until(F done) {
    std::unique_lock lock(mutex_);
    asleep_.store(true);
    woken_.wait(lock, done);
    asleep_.store(false);
  }
  /// Call after making the condition true. Both sides are sequentially consistent: either this sees the sleeper, or the
  /// sleeper, which looks once more before it sleeps, sees the condition.
  void wake() {
    if (!asleep_.load()) return;
    const std::lock_guard lock(mutex_);
    woken_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  std::atomic<bool> asleep_{false};
};

int affinity_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// The worker index of this thread while it runs a part, -1 otherwise.
thread_local int current_worker = -1;

struct WorkerScope {
  explicit WorkerScope(int worker) : before(current_worker) { current_worker = worker; }
  ~WorkerScope() { current_worker = before; }
  WorkerScope(const WorkerScope&) = delete;
  WorkerScope& operator=(const WorkerScope&) = delete;
  int before;
};

class Pool {
 public:
  int threads() const { return threads_.load(std::memory_order_relaxed); }
  void set_threads(int count) { threads_.store(count == 0 ? affinity_cpus() : count, std::memory_order_relaxed); }

  void run(std::int64_t parts, detail::RunPart run_part, void* body) {
    if (current_worker >= 0) return run_serially(parts, run_part, body);  // nested
    const std::lock_guard one_caller(caller_mutex_);                      // a serial call too is worker 0
    const int workers = static_cast<int>(std::min<std::int64_t>(threads(), parts));
    if (workers <= 1) return run_serially(parts, run_part, body);
    hire(workers - 1);
    run_part_ = run_part;
    body_ = body;
    parts_ = parts;
    workers_ = workers;
    next_.store(0, std::memory_order_relaxed);
    error_ = nullptr;
    gate_.store((gate_.load() & generation_mask) + one_generation + open_bit);
    for (int i = 0; i < workers - 1; ++i) beds_[static_cast<std::size_t>(i)].wake();
    take_parts(0);
    gate_.fetch_and(~open_bit);
    const auto everyone_left = [this] { return (gate_.load() & inside_mask) == 0; };
    if (!spin_until(everyone_left)) caller_bed_.sleep_until(everyone_left);
    if (error_) std::rethrow_exception(error_);
  }

 private:
  // The gate in one word: how many workers are inside, whether more may come in, and which call this is. A worker gets
  // in only while it is open, so the caller waits for those inside and for nobody else, and the job's fields are stable
  // for whoever is inside.
  static constexpr std::uint64_t inside_mask = 0xffff, open_bit = 1u << 16, one_generation = 1u << 17;
  static constexpr std::uint64_t generation_mask = ~(one_generation - 1);

  static void run_serially(std::int64_t parts, detail::RunPart run_part, void* body) {
    const WorkerScope scope(std::max(current_worker, 0));
    for (std::int64_t part = 0; part < parts; ++part) run_part(body, part, current_worker);
  }

  void take_parts(int worker) {
    const WorkerScope scope(worker);
    try {
      for (std::int64_t part; (part = next_.fetch_add(1, std::memory_order_relaxed)) < parts_;)
        run_part_(body_, part, worker);
    } catch (...) {
      next_.store(parts_, std::memory_order_relaxed);
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  // Starts threads until there are `helpers` of them.
  void hire(int helpers) {
    if (hired_ >= helpers) return;
    const NoSignals scope;
    while (hired_ < helpers) {
      if (std::ssize(beds_) == hired_) beds_.emplace_back();
      try {
        std::thread(&Pool::serve, this, hired_ + 1, &beds_.back(), gate_.load()).detach();
      } catch (const std::system_error& e) {
        throw failure("threads: cannot start thread {} of {}: {}; use fewer threads", hired_ + 2, helpers + 1,
                      e.what());
      }
      ++hired_;
    }
  }

  void serve(int worker, Bed* bed, std::uint64_t seen) {
    seen &= generation_mask;
    const auto called = [&] { return (gate_.load() & generation_mask) != seen; };
    for (;;) {
      if (!spin_until(called)) bed->sleep_until(called);
      std::uint64_t gate = gate_.load();
      seen = gate & generation_mask;
      bool inside = false;
      while (!inside && (gate & open_bit) != 0 && (gate & generation_mask) == seen)
        inside = gate_.compare_exchange_weak(gate, gate + 1);
      if (!inside) continue;
      if (worker < workers_) take_parts(worker);
      if (((gate_.fetch_sub(1) - 1) & (inside_mask | open_bit)) == 0) caller_bed_.wake();
    }
  }

  std::atomic<int> threads_{affinity_cpus()};
  std::mutex caller_mutex_;  // held by the thread whose call is in progress
  int hired_ = 0;
  std::deque<Bed> beds_;  // one per helper; a deque, because a Bed never moves
  Bed caller_bed_;

  // The job. Written while the gate is closed and empty.
  detail::RunPart run_part_ = nullptr;
  void* body_ = nullptr;
  std::int64_t parts_ = 0;
  int workers_ = 0;
  std::mutex error_mutex_;
  std::exception_ptr error_;

  alignas(64) std::atomic<std::uint64_t> gate_{0};
  alignas(64) std::atomic<std::int64_t> next_{0};
};

// Never destroyed: its threads may still look at it while the process exits. A union member gets no destructor call.
Pool& pool() {
  union Immortal {
    Immortal() : pool() {}
    ~Immortal() {}
    Pool pool;
  };
  static Immortal immortal;
  return immortal.pool;
}

}  // namespace

int thread_count() {
  return pool().threads();
}

void set_thread_count(int count) {
  if (count < 0 || count > 1024) throw input_error("threads: {} threads; expected 0 (every CPU) to 1024", count);
  pool().set_threads(count);
}

void detail::run_parts(std::int64_t parts, RunPart run, void* body) {
  if (parts > 0) pool().run(parts, run, body);
}

}  // namespace bittern::cpu
