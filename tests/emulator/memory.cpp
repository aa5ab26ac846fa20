// One reserved range of addresses is the device's memory. Freed ranges are filled with 0xFF and used again only after a
// thousand others were freed, so that whoever still reads them reads NaN. Under sanitizers every allocation is one of
// malloc instead, which then watches its borders.
#include "emulator/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "emulator/emulator.h"

namespace emulator {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

constexpr std::int64_t reserved = std::int64_t{1} << 38, quarantine = 1000, granule = 256;

struct Memory {
  std::mutex mutex;
  char* base = nullptr;
  std::int64_t used = 0;
  std::deque<std::pair<std::int64_t, char*>> freed;         // the oldest first
  std::multimap<std::int64_t, char*> reusable;              // by bytes
  std::array<std::map<const char*, std::int64_t>, 2> live;  // by Kind: address and bytes
  std::array<std::int64_t, 2> bytes{}, peak{};
  bool protection = false;
  int working = 0;

  void protect() const {
    if (protection && base != nullptr)
      mprotect(base, static_cast<std::size_t>(reserved), working > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
  }
  char* take(std::int64_t size) {
    if (base == nullptr) {
      void* const range = mmap(nullptr, static_cast<std::size_t>(reserved), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (range == MAP_FAILED) return nullptr;
      base = static_cast<char*>(range);
      protect();
    }
    if (const auto old = reusable.find(size); old != reusable.end()) {
      char* const address = old->second;
      reusable.erase(old);
      return address;
    }
    if (used + size > reserved) return nullptr;
    used += size;
    return base + used - size;
  }
};

Memory& memory() {
  static Memory all;
  return all;
}

std::int64_t rounded(std::int64_t bytes) {
  return (std::max<std::int64_t>(bytes, 1) + granule - 1) / granule * granule;
}

/// Bytes from `address` to the end of its allocation, with the lock held.
std::int64_t room_in(const std::map<const char*, std::int64_t>& live, const void* address) {
  const auto* const at = static_cast<const char*>(address);
  auto next = live.upper_bound(at);
  if (next == live.begin()) return 0;
  const auto& [begin, bytes] = *--next;
  return at < begin + bytes ? begin + bytes - at : 0;
}

/// Whether an address is one of the stack of the calling thread or of the heap.
bool of_the_host(const void* address) {
  const auto number = [](const void* of) { return reinterpret_cast<std::uintptr_t>(of); };
  const char here = 0;
  const std::uintptr_t at = number(address), stack = number(&here);
  static const std::uintptr_t heap = number(sbrk(0)) - (1 << 20);
  return (at > stack - (1 << 20) && at < stack + (8 << 20)) || (at > heap && at < number(sbrk(0)));
}

}  // namespace

void set_protection(bool on) {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  if (sanitized) return;
  all.protection = true;
  all.working += on ? 0 : 1;
  all.protect();
  all.working -= on ? 0 : 1;
  all.protection = on;
}

std::int64_t used_memory() {
  return memory().bytes[0];
}
std::int64_t peak_memory() {
  return memory().peak[0];
}

void* allocate(Kind kind, std::int64_t bytes) {
  Memory& all = memory();
  const Working working;
  const std::lock_guard lock(all.mutex);
  const auto k = static_cast<std::size_t>(kind);
  if (all.bytes[k] + bytes > (kind == Kind::device ? machine().memory : machine().pinned_memory)) return nullptr;
  char* address = nullptr;
  if (kind == Kind::pinned || sanitized) {
    address = static_cast<char*>(poisoned(static_cast<std::size_t>(bytes), kind == Kind::pinned ? 4096 : granule));
  } else {
    address = all.take(rounded(bytes));
    if (address == nullptr) return nullptr;
    std::memset(address, 0xff, static_cast<std::size_t>(bytes));
  }
  all.live[k][address] = bytes;
  all.bytes[k] += bytes;
  all.peak[k] = std::max(all.peak[k], all.bytes[k]);
  return address;
}

bool release(Kind kind, void* address) {
  Memory& all = memory();
  const Working working;
  const std::lock_guard lock(all.mutex);
  const auto k = static_cast<std::size_t>(kind);
  const auto found = all.live[k].find(static_cast<char*>(address));
  if (found == all.live[k].end()) return false;
  const std::int64_t bytes = found->second;
  all.live[k].erase(found);
  all.bytes[k] -= bytes;
  if (kind == Kind::pinned || sanitized) {
    std::free(address);
    return true;
  }
  // Large memory goes back to the system; small memory keeps its pages.
  if (bytes > 1 << 20)
    madvise(address, static_cast<std::size_t>(bytes / 4096 * 4096), MADV_DONTNEED);
  else
    std::memset(address, 0xff, static_cast<std::size_t>(bytes));
  all.freed.emplace_back(rounded(bytes), static_cast<char*>(address));
  if (static_cast<std::int64_t>(all.freed.size()) > quarantine) {
    all.reusable.insert(all.freed.front());
    all.freed.pop_front();
  }
  return true;
}

std::int64_t room(Kind kind, const void* address) {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  return room_in(all.live[static_cast<std::size_t>(kind)], address);
}

const char* wrong_pointer(const void* pointer) {
  if (pointer == nullptr || room(Kind::device, pointer) > 0 || room(Kind::pinned, pointer) > 0) return nullptr;
  return "a pointer to neither the device's memory nor pinned memory";
}

const char* wrong_words(const void* parameters, std::int64_t bytes) {
  Memory& all = memory();
  for (std::int64_t i = 0; i + 8 <= bytes; i += 8) {
    const char* word = nullptr;
    std::memcpy(&word, static_cast<const char*>(parameters) + i, 8);
    if (of_the_host(word)) return "an address of the host's stack or heap";
    const std::lock_guard lock(all.mutex);
    const bool in_range = all.base != nullptr && word >= all.base && word < all.base + reserved;
    // The end of an allocation is a good bound of a loop.
    if (in_range && room_in(all.live[0], word) == 0 && room_in(all.live[0], word - 1) == 0)
      return "an address of the device's memory where nothing lies";
  }
  return nullptr;
}

Working::Working() {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  if (all.working++ == 0) all.protect();
}
Working::~Working() {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  if (--all.working == 0) all.protect();
}

}  // namespace emulator
