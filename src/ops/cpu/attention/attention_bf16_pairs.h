// The operands of the attention kernels as pairs of bf16, for VDPBF16PS and for the tiles of AMX. P and dS are rounded
// to bf16 for their products; softmax and sums stay fp32. For the files that define BITTERN_TARGET.
#pragma once

#include "ops/cpu/attention/attention_avx512.h"

namespace bittern::cpu::attention {
namespace {

/// Words are pairs of bf16. Same members as Fma (attention_tiles.h).
struct Dot {
  using S = Avx512;
  using E = bf16;
  using V = S::V;
  static constexpr std::int64_t pack = 2;           ///< elements of a word
  static constexpr std::int64_t rows_together = 0;  ///< of a product in memory; 0: products stay in registers

  BITTERN_VECTOR V madd(V sum, V a, V b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }

  BITTERN_VECTOR void pack_row(float* to, const bf16* from, std::int64_t head_dim, std::int64_t padded) {
    for (std::int64_t w = 0; w < padded; w += S::width) {
      const std::int64_t left = head_dim / 2 - w;
      const auto mask = static_cast<__mmask16>(left >= S::width ? 0xffffu : ~(0xffffu << left) & 0xffffu);
      _mm512_storeu_si512(to + w, _mm512_maskz_loadu_epi32(mask, from + 2 * w));
    }
  }
  BITTERN_VECTOR bool pack_columns(float* to, const bf16* from, std::int64_t stride, std::int64_t count,
                                   std::int64_t rows, std::int64_t head_dim, std::int64_t padded) {
    const __m512i low_exponent = _mm512_set1_epi32(0x7f80), high_exponent = _mm512_set1_epi32(0x7f800000);
    unsigned special = 0;
    for (std::int64_t r = 0; r < rows; r += 2)
      for (std::int64_t d = 0; d < padded; d += S::width) {
        const std::int64_t left = head_dim - d;
        const auto mask = static_cast<__mmask16>(left >= S::width ? 0xffffu : ~(0xffffu << left) & 0xffffu);
        const auto even = static_cast<__mmask16>(r < count ? mask : 0),
                   odd = static_cast<__mmask16>(r + 1 < count ? mask : 0);
        const __m256i low = _mm256_maskz_loadu_epi16(even, from + r * stride + d);
        const __m256i high = _mm256_maskz_loadu_epi16(odd, from + (r + 1) * stride + d);
        const __m512i words =
            _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
        special |= _mm512_cmpeq_epi32_mask(_mm512_and_si512(words, low_exponent), low_exponent);
        special |= _mm512_cmpeq_epi32_mask(_mm512_and_si512(words, high_exponent), high_exponent);
        _mm512_storeu_si512(to + r / 2 * padded + d, words);
      }
    return special != 0;
  }
  BITTERN_VECTOR bool pack_left(float* to, const bf16* from, std::int64_t stride, std::int64_t count,
                                std::int64_t head_dim, std::int64_t padded) {
    return pack_columns(to, from, stride, count, round_up(count, pack), head_dim, padded);
  }
  static std::int64_t left_words(std::int64_t count, std::int64_t padded) {
    return round_up(count, pack) / pack * padded;
  }
  static void clear_special(float* words, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      std::uint32_t word;
      memcpy(&word, words + i, sizeof word);
      if ((word & 0x7f80u) == 0x7f80u) word &= 0xffff0000u;
      if ((word & 0x7f800000u) == 0x7f800000u) word &= 0x0000ffffu;
      memcpy(words + i, &word, sizeof word);
    }
  }
  static float weight(const float* p, std::int64_t key, std::int64_t lane) {
    std::uint32_t word;
    memcpy(&word, p + key / 2 * S::panel + lane, sizeof word);
    return bits_float(key % 2 == 0 ? word << 16 : word & 0xffff0000u);
  }

  /// Words {low, high} of two rows of f32.
  BITTERN_VECTOR __m512i pair(V low, V high) {
    const __m512i halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));  // 16 of low, then 16 of high
    const __m512i interleaved = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,  //
                                                 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(interleaved, halves);
  }

  BITTERN_VECTOR void weigh(float* scores, std::int64_t keys, float c, const V (&max)[2], V (&total)[2]) {
    for (std::int64_t key = 0; key < keys; key += 2)
      for (int n = 0; n < 2; ++n) {
        const float* at = scores + key * S::panel + n * S::width;
        const V even = S::exp2(S::mul(S::sub(S::load(at), max[n]), S::set(c)));
        const V odd = key + 1 < keys ? S::exp2(S::mul(S::sub(S::load(at + S::panel), max[n]), S::set(c))) : S::zero();
        total[n] = S::add(total[n], S::add(even, odd));
        _mm512_storeu_si512(scores + key / 2 * S::panel + n * S::width, pair(even, odd));
      }
  }

  BITTERN_VECTOR void differentiate(const BackwardScratch& s, std::int64_t panel, std::int64_t width, std::int64_t keys,
                                    const ScoreMath& math) {
    V lse[2], delta[2];
    for (int n = 0; n < 2; ++n) {
      lse[n] = S::load(s.lse + panel * S::panel + n * S::width);
      delta[n] = S::load(s.delta + panel * S::panel + n * S::width);
    }
    const float *scores = s.stage, *dp = s.stage + key_tile * S::panel;
    const __m512i lower = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,  //
                                           39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i upper = _mm512_add_epi16(lower, _mm512_set1_epi16(16));
    for (std::int64_t key = 0; key < keys; key += 2) {
      __m512i ds_rows[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
      for (int r = 0; r < 2; ++r) {
        if (key + r == keys) break;
        V p[2], ds[2];
        for (int n = 0; n < 2; ++n) {
          const std::int64_t from = (key + r) * S::panel + n * S::width;
          const V score = S::load(scores + from);
          p[n] = weight_of<S>(score, math.to_exponent, lse[n]);
          ds[n] = S::mul(p[n], S::sub(S::load(dp + from), delta[n]));
          if (math.cap_out > 0.0f) ds[n] = S::mul(ds[n], slope_of_cap<S>(score, math.cap_out));
        }
        const std::int64_t to = ((key + r) * width + panel * S::panel) / 2;
        ds_rows[r] = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(ds[1], ds[0]));
        _mm512_storeu_si512(s.p + to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(p[1], p[0])));
        _mm512_storeu_si512(s.ds + to, ds_rows[r]);
      }
      float* columns = s.ds_columns + key / 2 * width + panel * S::panel;
      _mm512_storeu_si512(columns, _mm512_permutex2var_epi16(ds_rows[0], lower, ds_rows[1]));
      _mm512_storeu_si512(columns + S::width, _mm512_permutex2var_epi16(ds_rows[0], upper, ds_rows[1]));
    }
  }
  static const float* ds_columns(const BackwardScratch& s) { return s.ds_columns; }
};

}  // namespace
}  // namespace bittern::cpu::attention
