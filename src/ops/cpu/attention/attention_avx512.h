// Vectors of sixteen floats for the attention kernels, and the step from bf16. For the files that define
// BITTERN_TARGET.
#pragma once

#include "ops/cpu/attention/attention_tiles.h"
#include "ops/cpu/machine/intrinsics.h"

#define BITTERN_VECTOR [[gnu::always_inline, BITTERN_TARGET]] static inline

namespace bittern::cpu::attention {
namespace {

struct Avx512 {
  static constexpr std::int64_t width = 16, panel = 2 * width;
  static constexpr int row_rows = 8;  // 16 sums hide the latency of the products; one pointer for each row
  static constexpr int column_rows = 8;
  using V = __m512;

  BITTERN_VECTOR V zero() { return _mm512_setzero_ps(); }
  BITTERN_VECTOR V set(float x) { return _mm512_set1_ps(x); }
  BITTERN_VECTOR V broadcast(const float* at) { return _mm512_set1_ps(*at); }
  BITTERN_VECTOR V load(const float* at) { return _mm512_loadu_ps(at); }
  BITTERN_VECTOR V load(const bf16* at) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  BITTERN_VECTOR void store(float* at, V x) { _mm512_storeu_ps(at, x); }
  /// To nearest, ties to even; a NaN stays one.
  BITTERN_VECTOR void store(bf16* at, V x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i nan = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
    const __m512i result = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), nan);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), _mm512_cvtepi32_epi16(_mm512_srli_epi32(result, 16)));
  }
  BITTERN_VECTOR V add(V a, V b) { return _mm512_add_ps(a, b); }
  BITTERN_VECTOR V sub(V a, V b) { return _mm512_sub_ps(a, b); }
  BITTERN_VECTOR V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  BITTERN_VECTOR V div(V a, V b) { return _mm512_div_ps(a, b); }
  BITTERN_VECTOR V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  /// The larger, the smaller; b if one is not a number.
  BITTERN_VECTOR V max(V a, V b) { return _mm512_max_ps(a, b); }
  BITTERN_VECTOR V min(V a, V b) { return _mm512_min_ps(a, b); }
  BITTERN_VECTOR float sum(V x) {
    const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), upper);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  /// Lanes from `first` on keep x, those before it get `other`.
  BITTERN_VECTOR V keep_from(std::int64_t first, V x, V other) {
    const std::int64_t lost = first <= 0 ? 0 : smaller(first, width);
    return _mm512_mask_mov_ps(other, static_cast<__mmask16>(0xffffu << lost), x);
  }
  BITTERN_VECTOR V bits_as_number(V x) { return _mm512_cvtepi32_ps(_mm512_castps_si512(x)); }
  /// 2^x; the two special instructions take the fraction (0 for an infinity) and multiply by 2^floor(x), so 2^-inf is
  /// 0.
  BITTERN_VECTOR V exp2(V x) { return _mm512_scalef_ps(exp2_fraction<Avx512>(_mm512_reduce_ps(x, 1)), x); }
  BITTERN_VECTOR void transpose(V (&block)[16]) {
    V pairs[16], fours[16];
    for (int r = 0; r < 16; r += 2) {
      pairs[r] = _mm512_unpacklo_ps(block[r], block[r + 1]);
      pairs[r + 1] = _mm512_unpackhi_ps(block[r], block[r + 1]);
    }
    for (int r = 0; r < 16; r += 4)
      for (int i = 0; i < 2; ++i) {
        fours[r + 2 * i] = _mm512_shuffle_ps(pairs[r + i], pairs[r + i + 2], 0x44);
        fours[r + 2 * i + 1] = _mm512_shuffle_ps(pairs[r + i], pairs[r + i + 2], 0xee);
      }
    for (int r = 0; r < 4; ++r) {  // 128-bit lane l of fours[4 g + r]: column 4 l + r of rows 4 g .. 4 g + 3
      const V even_upper = _mm512_shuffle_f32x4(fours[r], fours[r + 4], 0x88);
      const V odd_upper = _mm512_shuffle_f32x4(fours[r], fours[r + 4], 0xdd);
      const V even_lower = _mm512_shuffle_f32x4(fours[r + 8], fours[r + 12], 0x88);
      const V odd_lower = _mm512_shuffle_f32x4(fours[r + 8], fours[r + 12], 0xdd);
      block[r] = _mm512_shuffle_f32x4(even_upper, even_lower, 0x88);
      block[r + 4] = _mm512_shuffle_f32x4(odd_upper, odd_lower, 0x88);
      block[r + 8] = _mm512_shuffle_f32x4(even_upper, even_lower, 0xdd);
      block[r + 12] = _mm512_shuffle_f32x4(odd_upper, odd_lower, 0xdd);
    }
  }
};

}  // namespace
}  // namespace bittern::cpu::attention
