// gemm in AVX-512: FMA on floats, which for bf16 compute were rounded to bf16 while they were packed; VPMADDWD on
// integers.
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm/gemm_kernels.h"

#if defined(__x86_64__)
#include "ops/cpu/machine/intrinsics.h"

#define BITTERN_TARGET [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]]

namespace bittern::cpu {
namespace {

#include "ops/cpu/gemm/gemm_avx512_lanes.h"
#include "ops/cpu/gemm/gemm_int8_template.h"

struct FloatLanes : Avx512Lanes {
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), acc);
  }
};

/// Bytes widened to pairs of 16 bits; sums of two products cannot leave 32.
struct WidenedLanes : Avx512Integers {
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) { return add(acc, _mm512_madd_epi16(a, b)); }
};

struct LoadWidened {
  using Lanes = WidenedLanes;
  using Stored = std::int8_t;
  static constexpr int per_word = 2;
  BITTERN_INLINE __m512i along(const std::int8_t* p, int count = 32) {
    return _mm512_cvtepi8_epi16(count >= 32 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))
                                            : _mm256_maskz_loadu_epi8((1u << count) - 1u, p));
  }
};

constexpr GemmKernels f32_kernels = make_float_kernels<FloatLanes, false>(Storage::f32);
constexpr GemmKernels bf16_kernels = make_float_kernels<FloatLanes, true>(std::nullopt);
constexpr GemmKernels int8_kernels = make_int8_kernels<LoadWidened, LoadWidened>();

}  // namespace

const GemmKernels& gemm_kernels_avx512(DType compute) {
  return compute == DType::f32 ? f32_kernels : bf16_kernels;
}
const GemmKernels& gemm_int8_kernels_avx512() {
  return int8_kernels;
}

}  // namespace bittern::cpu
#endif
