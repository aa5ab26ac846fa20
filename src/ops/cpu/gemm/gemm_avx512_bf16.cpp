// gemm in AVX512-BF16: words are pairs of bf16, and VDPBF16PS adds both products. It treats denormals as zero, as the
// conversions of gemm_bf16_pairs.h do.
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm/gemm_kernels.h"

#if defined(__x86_64__)
#include "ops/cpu/machine/intrinsics.h"

#define BITTERN_TARGET [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]]

namespace bittern::cpu {
namespace {

#include "ops/cpu/gemm/gemm_avx512_lanes.h"
#include "ops/cpu/gemm/gemm_bf16_pairs.h"
#include "ops/cpu/gemm/gemm_template.h"

constexpr GemmKernels bf16_kernels = [] {
  auto kernels = make_kernels<PairLanes, LoadF32, LoadBf16, LoadScaled<float>, LoadScaled<bf16>>(Storage::bf16);
  constexpr auto e4m3 = static_cast<std::size_t>(Storage::e4m3);
  constexpr auto along = static_cast<std::size_t>(Layout::along_k), across = static_cast<std::size_t>(Layout::across_k);
  kernels.pack_a[along][e4m3] = pack_along_k<LoadE4m3, PairLanes::mr>;
  kernels.pack_b[along][e4m3] = pack_along_k<LoadE4m3, 2 * PairLanes::lanes>;
  kernels.pack_b[across][e4m3] = pack_across_k<LoadE4m3, 2 * PairLanes::lanes>;
  return kernels;
}();

}  // namespace

const GemmKernels& gemm_kernels_avx512_bf16(DType compute) {
  return compute == DType::f32 ? gemm_kernels_avx512(compute) : bf16_kernels;
}

}  // namespace bittern::cpu
#endif
