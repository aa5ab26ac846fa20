// gemm in AVX-512: FMA on floats, which for bf16 compute were rounded to bf16 while they were packed.
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm_kernels.h"

#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 11 and 12 see some in their own header (bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#define BITTERN_TARGET [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]]

namespace bittern::cpu {
namespace {

#include "ops/cpu/gemm_avx512_lanes.h"
#include "ops/cpu/gemm_template.h"

struct FloatLanes : Avx512Lanes {
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), acc);
  }
};

struct LoadF32 {
  using Lanes = FloatLanes;
  using Stored = float;
  static constexpr int per_word = 1;
  BITTERN_INLINE __m512i along(const float* p, int count = 16) { return _mm512_castps_si512(Lanes::load(p, count)); }
  BITTERN_INLINE __m512i across(const float* p, const float*, int count = 16, bool = true) { return along(p, count); }
};

struct LoadBf16 {
  using Lanes = FloatLanes;
  using Stored = bf16;
  static constexpr int per_word = 1;
  BITTERN_INLINE __m512i along(const bf16* p, int count = 16) { return _mm512_castps_si512(Lanes::load(p, count)); }
  BITTERN_INLINE __m512i across(const bf16* p, const bf16*, int count = 16, bool = true) { return along(p, count); }
};

/// to_bf16 (quant/bf16.h) on floats that stay floats.
struct LoadF32Rounded {
  using Lanes = FloatLanes;
  using Stored = float;
  static constexpr int per_word = 1;
  BITTERN_INLINE __m512i along(const float* p, int count = 16) {
    return _mm512_and_si512(Lanes::rounded(Lanes::load(p, count)), _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  }
  BITTERN_INLINE __m512i across(const float* p, const float*, int count = 16, bool = true) { return along(p, count); }
};

constexpr GemmKernels f32_kernels = make_kernels<FloatLanes, LoadF32, LoadBf16>(Storage::f32);
constexpr GemmKernels bf16_kernels = make_kernels<FloatLanes, LoadF32Rounded, LoadBf16>(std::nullopt);

}  // namespace

const GemmKernels& gemm_kernels_avx512(DType compute) {
  return compute == DType::f32 ? f32_kernels : bf16_kernels;
}

}  // namespace bittern::cpu
#endif
