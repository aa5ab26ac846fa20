// gemm in AVX512-BF16: a word is two neighbours along k, the first in its lower half; VDPBF16PS adds both products.
// It treats denormals as zero, as the conversions here do.
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

#define BITTERN_TARGET [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]]

namespace bittern::cpu {
namespace {

#include "ops/cpu/gemm_avx512_lanes.h"
#include "ops/cpu/gemm_template.h"

struct PairLanes : Avx512Lanes {
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  BITTERN_INLINE Words pairs(Words low, Words high) { return _mm512_or_si512(low, _mm512_slli_epi32(high, 16)); }
};

struct LoadF32 {
  using Lanes = PairLanes;
  using Stored = float;
  static constexpr int per_word = 2;
  BITTERN_INLINE __m512i along(const float* p, int count = 32) {
    const __m512 upper = count > 16 ? Lanes::load(p + 16, count - 16) : _mm512_setzero_ps();
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(upper, Lanes::load(p, count)));
  }
  BITTERN_INLINE __m512i across(const float* p, const float* q, int count = 16, bool has_q = true) {
    const auto low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(Lanes::load(p, count)));
    const auto high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(Lanes::load(q, has_q ? count : 0)));
    return Lanes::pairs(_mm512_cvtepu16_epi32(low), _mm512_cvtepu16_epi32(high));
  }
};

struct LoadBf16 {
  using Lanes = PairLanes;
  using Stored = bf16;
  static constexpr int per_word = 2;
  BITTERN_INLINE __m512i along(const bf16* p, int count = 32) {
    return count >= 32 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16((1u << count) - 1u, p);
  }
  BITTERN_INLINE __m512i across(const bf16* p, const bf16* q, int count = 16, bool has_q = true) {
    return Lanes::pairs(Lanes::halves(p, count), Lanes::halves(q, has_q ? count : 0));
  }
};

constexpr GemmKernels bf16_kernels = make_kernels<PairLanes, LoadF32, LoadBf16>(Storage::bf16);

}  // namespace

const GemmKernels& gemm_kernels_avx512_bf16(DType compute) {
  return compute == DType::f32 ? gemm_kernels_avx512(compute) : bf16_kernels;
}

}  // namespace bittern::cpu
#endif
