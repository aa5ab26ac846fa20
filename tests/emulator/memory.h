// The emulated device's memory, and which memory of the host is pinned: where an address lies, and how much is left there.
#pragma once

#include <cstdint>
#include <utility>

namespace emulator {

enum class Kind : std::uint8_t { device, pinned };

/// Null where the machine has not so much left. Filled with 0xFF.
void* allocate(Kind kind, std::int64_t bytes);
/// False: nothing of that kind was allocated there.
bool release(Kind kind, void* memory);

/// Bytes from `address` to the end of its allocation of that kind; 0: it lies in none.
std::int64_t room(Kind kind, const void* address);

/// What is wrong with these parameters of a kernel, or null. A pointer must be null or point into memory of the device or
/// pinned memory; each word of a struct is looked at too: it must not be an address of the device's memory where nothing
/// lies now, nor one of the host's stack or heap.
const char* wrong_pointer(const void* pointer);
const char* wrong_words(const void* parameters, std::int64_t bytes);

/// While it lives, the device's memory can be reached.
struct Working {
  Working();
  ~Working();
  Working(const Working&) = delete;
  Working& operator=(const Working&) = delete;
};

}  // namespace emulator
