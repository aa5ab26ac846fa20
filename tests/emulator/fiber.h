// Fiber: a stack of its own that the CPU is switched to and from. A thread of the emulated device runs on one.
#pragma once

#include <cstddef>

namespace emulator {

class Fiber {
 public:
  using Entry = void (*)(Fiber& itself);

  /// The stack that this operating system's thread runs on now.
  Fiber() = default;
  /// A new stack. `entry` runs at the first switch to it, and never returns.
  explicit Fiber(Entry entry);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Saves the running fiber in `from` and goes on with `to`; returns when somebody switches back to `from`.
  static void switch_to(Fiber& from, Fiber& to);

 private:
  static void start();

  void* stack_pointer_ = nullptr;  // while it does not run
  char* stack_ = nullptr;          // of a new stack; a page that cannot be touched lies below it
  Entry entry_ = nullptr;
  // What the address sanitizer must know of a stack that is switched to.
  void* fake_stack_ = nullptr;
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace emulator
