// Scheduling of a grid: which thread runs next, barriers, and operations that lanes do together.
#include "emulator/engine.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>

namespace emulator {

thread_local Thread* self = nullptr;
thread_local LaunchShape shape;

namespace {

/// An operation under way among some lanes of a warp.
struct Meeting {
  const char* what;
  unsigned warp, expected, arrived;
  std::uint32_t mask;
  bool open;
  const void* in[32];
  void* out[32];
  Thread* waiting[32];
};

std::uint64_t random_state = 0;  // 0: everything runs by index

}  // namespace

struct Block {
  Block(unsigned size,
        std::size_t shared_bytes)  // exactly as many bytes as were asked for: a sanitizer sees an overrun
      : threads(size), shared(static_cast<std::byte*>(poisoned(shared_bytes, 1024))), priorities((size + 31) / 32) {}
  ~Block() { std::free(shared); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  std::vector<Thread> threads;
  std::byte* shared;
  std::vector<std::uint32_t> priorities;  // of warps
  std::vector<Thread*> at_barrier;
  Line barrier_line{};
  std::vector<std::unique_ptr<Meeting>> meetings;
};

namespace {

struct Engine {
  Fiber host;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle;
  std::deque<Thread*> ready, unstarted;  // by index: who waited goes on before another begins
  std::vector<Thread*> heap;             // in a random order: all that can run, the highest priority first
  std::size_t live = 0;                  // threads of the block that have not ended
  const std::function<void()>* body = nullptr;
  Thread* beginning = nullptr;  // what a fiber that is switched to for the first time shall run
  Line launched{};
  std::string failure;
};
thread_local Engine engine;

bool by_priority(const Thread* a, const Thread* b) {
  return a->priority < b->priority;
}

void make_ready(Thread* thread) {
  if (random_state == 0) {
    (thread->fiber != nullptr ? engine.ready : engine.unstarted).push_back(thread);
    return;
  }
  thread->priority = static_cast<std::uint64_t>(thread->block->priorities[thread->warp]) << 32 | random_bits();
  engine.heap.push_back(thread);
  std::push_heap(engine.heap.begin(), engine.heap.end(), by_priority);
}

/// Null: none can run.
Thread* next_thread() {
  Thread* next = nullptr;
  if (!engine.heap.empty()) {
    std::pop_heap(engine.heap.begin(), engine.heap.end(), by_priority);
    next = engine.heap.back();
    engine.heap.pop_back();
  } else if (auto& queue = engine.ready.empty() ? engine.unstarted : engine.ready; !queue.empty()) {
    next = queue.front();
    queue.pop_front();
  }
  return next;
}

void draw_priorities(Block& block) {
  for (std::uint32_t& priority : block.priorities) priority = random_bits();
}

void run_threads(Fiber& itself);

void resume(Fiber& from, Thread* thread) {
  if (thread->fiber == nullptr) {
    engine.beginning = thread;
    if (engine.idle.empty()) {
      engine.fibers.push_back(std::make_unique<Fiber>(run_threads));
      engine.idle.push_back(engine.fibers.back().get());
    }
    thread->fiber = engine.idle.back();
    engine.idle.pop_back();
  }
  ++counters().switches;
  Fiber::switch_to(from, *thread->fiber);
}

/// The life of a fiber: it runs one thread after another.
void run_threads(Fiber& itself) {
  for (;;) {
    Thread* const thread = engine.beginning;
    thread->fiber = &itself;
    self = thread;
    (*engine.body)();
    thread->waits_in = "ended";
    --engine.live;
    Thread* const next = next_thread();
    if (next != nullptr && next->fiber == nullptr) {
      engine.beginning = next;
      continue;
    }
    engine.idle.push_back(&itself);
    if (next != nullptr)
      resume(itself, next);
    else if (engine.live > 0)
      fail(thread->waits_at, "deadlock: %zu threads of the block wait for others that have ended", engine.live);
    else
      Fiber::switch_to(itself, engine.host);
  }
}

void wait(const char* what, Line where) {
  Thread* const me = self;
  me->waits_in = what;
  me->waits_at = where;
  Thread* const next = next_thread();
  if (next == nullptr) fail(where, "deadlock: all threads of the block wait");
  if (next != me) resume(*me->fiber, next);
  me->waits_in = nullptr;
  self = me;
}

/// Of the block of the running thread: how many threads wait in what, and where.
std::string who_waits() {
  std::map<std::tuple<std::string, std::string, unsigned>, std::vector<unsigned>> groups;
  const std::vector<Thread>& threads = self->block->threads;
  for (const Thread& thread : threads)
    if (thread.waits_in != nullptr)
      groups[{thread.waits_in, thread.waits_at.file != nullptr ? thread.waits_at.file : "", thread.waits_at.line}]
          .push_back(static_cast<unsigned>(&thread - threads.data()));
  std::string text;
  for (const auto& [key, list] : groups) {
    const auto& [what, file, line] = key;
    text += "\n  " + std::to_string(list.size()) + " threads " + (what == "ended" ? "have " : "wait in ") + what;
    if (!file.empty()) text += " at " + file + ":" + std::to_string(line);
    text += ", the first " + std::to_string(list.front()) + ", the last " + std::to_string(list.back());
  }
  return text;
}

/// The meeting that the running thread takes part in.
Meeting& meet(const char* what, std::uint32_t mask, Line where) {
  Block& block = *self->block;
  if ((mask >> self->lane & 1) == 0) fail(where, "%s: lane %u is not in its own mask", what, self->lane);
  Meeting* unused = nullptr;
  for (const auto& meeting : block.meetings) {
    if (!meeting->open) {
      unused = meeting.get();
    } else if (meeting->warp == self->warp && meeting->mask == mask) {
      if (std::strcmp(meeting->what, what) != 0)
        fail(where, "lanes of one warp meet in different operations: %s and %s", meeting->what, what);
      return *meeting;
    } else if (meeting->warp == self->warp && (meeting->mask & mask) != 0) {
      fail(where, "%s: lanes name different masks, %08x here and %08x in %s", what, mask, meeting->mask, meeting->what);
    }
  }
  if (unused == nullptr) {
    block.meetings.push_back(std::make_unique<Meeting>());
    unused = block.meetings.back().get();
  }
  // Lanes that a last, partial warp does not have are not waited for.
  unsigned expected = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    expected += (mask >> lane & 1) != 0 && self->warp * 32 + lane < block.threads.size();
  *unused = {what, self->warp, expected, 0, mask, true, {}, {}, {}};
  return *unused;
}

}  // namespace

Counters& counters() {
  static Counters all;
  return all;
}

void set_schedule(std::uint64_t seed) {
  random_state = seed * 0x9E3779B97F4A7C15u;
}

std::uint32_t random_bits() {
  if (random_state == 0) return 0;
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return static_cast<std::uint32_t>(random_state >> 32);
}

void* poisoned(std::size_t bytes, std::size_t alignment) {
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, std::max<std::size_t>(bytes, 1)) != 0) throw std::bad_alloc();
  std::memset(memory, 0xff, bytes);
  return memory;
}

std::byte* shared_memory() {
  return self->block->shared;
}

void fail(Line where, const char* format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  std::vsnprintf(text, sizeof text, format, list);
  va_end(list);
  std::string& failure = engine.failure;
  failure = std::string("emulated device: ") + text;
  if (self == nullptr) throw Fault(std::exchange(failure, {}));
  const auto index = [](const uint3& i) {
    return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
  };
  if (where.file != nullptr) failure += "\n  at " + std::string(where.file) + ":" + std::to_string(where.line);
  failure += "\n  in block " + index(self->blockIdx) + ", thread " + index(self->threadIdx) + " of the kernel that " +
             engine.launched.file + ":" + std::to_string(engine.launched.line) + " launched" + who_waits();
  Fiber::switch_to(*self->fiber, engine.host);  // which never comes back
  std::abort();
}

void barrier(const char* what, Line where) {
  Block& block = *self->block;
  if (block.at_barrier.empty())
    block.barrier_line = where;
  else if (block.barrier_line.line != where.line || std::strcmp(block.barrier_line.file, where.file) != 0)
    fail(where, "threads of one block meet in different barriers, this one and %s:%u", block.barrier_line.file,
         block.barrier_line.line);
  block.at_barrier.push_back(self);
  if (block.at_barrier.size() < block.threads.size()) {
    wait(what, where);
    return;
  }
  if (random_bits() % 2 != 0) draw_priorities(block);
  const bool by_index = random_state == 0;
  for (Thread* thread : block.at_barrier)
    if (thread != self || !by_index) make_ready(thread);  // the last to arrive is not always the first to go on
  block.at_barrier.clear();
  if (!by_index) wait(what, where);
}

void collective(const char* what, std::uint32_t mask, const void* in, void* out, Combine combine, void* context,
                Line where) {
  Meeting& meeting = meet(what, mask, where);
  const unsigned lane = self->lane;
  meeting.in[lane] = in;
  meeting.out[lane] = out;
  meeting.waiting[lane] = self;
  if (++meeting.arrived < meeting.expected) {
    wait(what, where);
    return;
  }
  combine(context, meeting.in, meeting.out);
  meeting.open = false;
  const bool by_index = random_state == 0;
  for (Thread* thread : meeting.waiting)
    if (thread != nullptr && (thread != self || !by_index)) make_ready(thread);
  if (!by_index) wait(what, where);
}

void run_grid(const LaunchShape& grid, Line launched, const std::function<void()>& body) {
  if (self != nullptr) fail(launched, "a kernel launches another");
  shape = grid;
  engine.body = &body;
  engine.launched = launched;
  const unsigned threads = grid.block.x * grid.block.y * grid.block.z;
  const std::size_t blocks = static_cast<std::size_t>(grid.grid.x) * grid.grid.y * grid.grid.z;
  std::vector<std::size_t> order;
  if (random_state != 0) {
    order.resize(blocks);
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (std::size_t i = blocks; i > 1; --i) std::swap(order[i - 1], order[random_bits() % i]);
  }
  ++counters().launches;
  counters().blocks += blocks;
  counters().threads += blocks * threads;
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t index = order.empty() ? i : order[i];
    Block block(threads, grid.shared_bytes);
    draw_priorities(block);
    const uint3 block_index{static_cast<unsigned>(index % grid.grid.x),
                            static_cast<unsigned>(index / grid.grid.x % grid.grid.y),
                            static_cast<unsigned>(index / grid.grid.x / grid.grid.y)};
    for (unsigned t = 0; t < threads; ++t) {
      Thread& thread = block.threads[t];
      thread.threadIdx = {t % grid.block.x, t / grid.block.x % grid.block.y, t / grid.block.x / grid.block.y};
      thread.blockIdx = block_index;
      thread.lane = t % 32;
      thread.warp = t / 32;
      thread.block = &block;
      make_ready(&thread);
    }
    engine.live = threads;
    resume(engine.host, next_thread());
    self = nullptr;
    if (engine.failure.empty()) continue;
    // The threads stand where they stood, and so do their stacks: nobody will run on them again.
    engine.ready.clear();
    engine.unstarted.clear();
    engine.heap.clear();
    engine.idle.clear();
    engine.fibers.clear();
    throw Fault(std::exchange(engine.failure, {}));
  }
}

}  // namespace emulator
