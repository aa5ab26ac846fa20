#pragma once

#include <cstdint>

namespace bittern {

/// Memory that this process can still take: the smaller of what the machine has available and what its cgroup allows.
std::int64_t available_memory();

/// The largest resident set of this process so far, in bytes.
std::int64_t peak_resident_bytes();

}  // namespace bittern
