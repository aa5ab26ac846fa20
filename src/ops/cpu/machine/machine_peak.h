// What this machine can do at most, measured in some milliseconds: the yardstick of `--profile`, of the progress line
// and of the benchmarks. On all threads of the pool; nothing here changes any result.
#pragma once

#include "bittern/dtype.h"

namespace bittern::cpu {

/// The rate of the multiply-add that gemm uses for `compute` (f32, bf16, or i8 for products of integers) in the
/// instruction set in use, operands in registers: the best of several short runs. GFLOP/s, two per multiply-add.
double measured_peak_gflops(DType compute);

/// Memory bandwidth with `reads` arrays read for `writes` arrays written, all larger than the caches: the best of
/// several passes. Gigabytes (1e9) per second, counting each array once. Takes about a tenth of a second.
double measured_stream_gbs(int reads, int writes);

}  // namespace bittern::cpu
