// profile_table: what each op cost, beside what the machine can do.
#pragma once

#include <cstdint>
#include <string>

#include "bittern/backend.h"
#include "bittern/profile.h"

namespace bittern {

/// One row per op: calls, milliseconds, share of the step, GB/s and GFLOP/s, and the larger of both as a part of the
/// machine's measured streaming bandwidth and GEMM peak.
std::string profile_table(const Profile& profile, double seconds, std::int64_t steps, const MachineLimits& limits);

}  // namespace bittern
