// Switching stacks: the registers that a function must keep (System V, x86-64), pushed on one stack and popped from another.
// Nothing here is inlined into a caller: compilers may keep addresses of thread-local objects across an inlined switch.
#include "emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" void emulator_switch_stack(void** save, void* load);
asm(R"(
.text
.type emulator_switch_stack,@function
emulator_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch_stack,.-emulator_switch_stack
)");

namespace emulator {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t stack_bytes = 256 << 10;  // red zones make frames several times as large
#else
constexpr std::size_t stack_bytes = 64 << 10;
#endif
constexpr std::size_t page = 4096;

// The two fibers of the switch under way: a new fiber has nobody to hand them to it.
thread_local Fiber* switch_from = nullptr;
thread_local Fiber* switch_target = nullptr;

}  // namespace

Fiber::Fiber(Entry entry) : entry_(entry), size_(stack_bytes) {
  void* const memory =
      mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);
  stack_ = static_cast<char*>(memory) + page;
  bottom_ = stack_;
  auto* top = reinterpret_cast<std::uintptr_t*>(stack_ + stack_bytes);
  *--top = 0;                                         // the stack is 16-byte aligned where start() begins
  *--top = reinterpret_cast<std::uintptr_t>(&start);  // where the first switch returns to
  for (int i = 0; i < 6; ++i) *--top = 0;             // the registers that it pops
  stack_pointer_ = top;
}

Fiber::~Fiber() {
  if (stack_ != nullptr) munmap(stack_ - page, stack_bytes + page);
}

void Fiber::switch_to(Fiber& from, Fiber& to) {
  switch_from = &from;
  switch_target = &to;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.fake_stack_, to.bottom_, to.size_);
#endif
  emulator_switch_stack(&from.stack_pointer_, to.stack_pointer_);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(from.fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::start() {
  Fiber& itself = *switch_target;
#ifdef __SANITIZE_ADDRESS__
  // The first to switch to a new stack may be the host, whose stack nobody knows yet.
  __sanitizer_finish_switch_fiber(nullptr, &switch_from->bottom_, &switch_from->size_);
#endif
  itself.entry_(itself);
  std::abort();
}

}  // namespace emulator
