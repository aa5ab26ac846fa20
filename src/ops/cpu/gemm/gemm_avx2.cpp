// gemm in AVX2: FMA on floats, which for bf16 compute were rounded to bf16 while they were packed; VPMADDWD on
// integers.
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm/gemm_kernels.h"

#if defined(__x86_64__)
#include "ops/cpu/machine/intrinsics.h"

#define BITTERN_TARGET [[gnu::target("avx2,fma")]]

namespace bittern::cpu {
namespace {

#include "ops/cpu/gemm/gemm_avx2_lanes.h"
#include "ops/cpu/gemm/gemm_int8_template.h"

struct FloatLanes : Avx2Lanes {
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), acc);
  }
};

/// Bytes widened to pairs of 16 bits; sums of two products cannot leave 32.
struct WidenedLanes : Avx2Integers {
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) { return add(acc, _mm256_madd_epi16(a, b)); }
};

struct LoadWidened {
  using Lanes = WidenedLanes;
  using Stored = std::int8_t;
  static constexpr int per_word = 2;
  BITTERN_INLINE __m256i along(const std::int8_t* p, int count = 16) {
    std::int8_t copy[16];
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(filled_up(p, count, copy))));
  }
};

constexpr GemmKernels f32_kernels = make_float_kernels<FloatLanes, false>(Storage::f32);
constexpr GemmKernels bf16_kernels = make_float_kernels<FloatLanes, true>(std::nullopt);
constexpr GemmKernels int8_kernels = make_int8_kernels<LoadWidened, LoadWidened>();

}  // namespace

const GemmKernels& gemm_kernels_avx2(DType compute) {
  return compute == DType::f32 ? f32_kernels : bf16_kernels;
}
const GemmKernels& gemm_int8_kernels_avx2() {
  return int8_kernels;
}

}  // namespace bittern::cpu
#endif
