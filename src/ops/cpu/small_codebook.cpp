#include "ops/cpu/small_codebook.h"

#include "ops/cpu/simd.h"

#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 11 and 12 see one in their own header (bug 105593)
#endif
#include <immintrin.h>
#endif

namespace bittern::cpu {
namespace {

// ---- Plain loops

template <int Bits>
void find_plain(const Codebook& book, const float* x, const std::uint32_t* random, std::int64_t n,
                std::uint8_t* codes) {
  simd([&] {
    alignas(64) float threshold[1 << Bits], level[1 << Bits];
    for (int k = 0; k < 1 << Bits; ++k) {
      threshold[k] = book.threshold[k];
      level[k] = book.level[k];
    }
    const std::int32_t levels = book.levels;
    const float* const from = x;
    const std::uint32_t* const word = random;
    std::uint8_t* const to = codes;
    if (word == nullptr) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<std::uint8_t>(nearest_code<Bits>(from[i], threshold));
    } else {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i)
        to[i] = static_cast<std::uint8_t>(stochastic_code<Bits>(from[i], level, levels, word[i]));
    }
  });
}

void look_up_plain(const float* level, const std::uint8_t* codes, float scale, std::int64_t n, float* out) {
  simd([=] {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) out[i] = level[codes[i]] * scale;
  });
}

#if defined(__x86_64__)
// ---- AVX-512

#define BITTERN_TARGET gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define BITTERN_VECTOR [[gnu::always_inline, BITTERN_TARGET]] static inline

/// The lanes of the vector at element i of n.
BITTERN_VECTOR __mmask16 lanes_at(std::int64_t i, std::int64_t n) {
  return static_cast<__mmask16>(n - i >= 16 ? 0xffffu : (1u << (n - i)) - 1u);
}
BITTERN_VECTOR __m512 table_of(const float* numbers, int bits) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << (1 << bits)) - 1u), numbers);
}
BITTERN_VECTOR void store_codes(std::uint8_t* to, __mmask16 lanes, __m512i codes) {
  _mm_mask_storeu_epi8(to, lanes, _mm512_cvtepi32_epi8(codes));
}

/// How many of bound[1], bound[2], ... are <= x; they ascend, and NaN end them where there are fewer than 2^Bits - 1.
template <int Bits>
BITTERN_VECTOR __m512i count_reached(__m512 x, __m512 bound) {
  __m512i code = _mm512_setzero_si512();
  for (int step = 1 << (Bits - 1); step > 0; step /= 2) {
    const __m512i higher = _mm512_or_si512(code, _mm512_set1_epi32(step));
    code = _mm512_mask_mov_epi32(code, _mm512_cmp_ps_mask(x, _mm512_permutexvar_ps(higher, bound), _CMP_GE_OQ), higher);
  }
  return code;
}

template <int Bits>
[[BITTERN_TARGET]] void find_avx512(const Codebook& book, const float* x, const std::uint32_t* random, std::int64_t n,
                                    std::uint8_t* codes) {
  if (random == nullptr) {
    const __m512 threshold = table_of(book.threshold, Bits);
    for (std::int64_t i = 0; i < n; i += 16) {
      const __mmask16 lanes = lanes_at(i, n);
      store_codes(codes + i, lanes, count_reached<Bits>(_mm512_maskz_loadu_ps(lanes, x + i), threshold));
    }
    return;
  }
  // stochastic_code and chance (quant/stochastic.h), their tables in registers.
  const __m512 level = table_of(book.level, Bits);
  const __m512i one = _mm512_set1_epi32(1), end = _mm512_set1_epi32((1 << Bits) - 1);
  const __m512i last = _mm512_set1_epi32(book.levels - 1), below_one = _mm512_set1_epi32(0x3f7fffff);
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = lanes_at(i, n);
    const __m512 at = _mm512_maskz_loadu_ps(lanes, x + i);
    const __m512i lower = count_reached<Bits>(at, level);
    const __m512i upper = _mm512_min_epi32(_mm512_add_epi32(lower, one), end);
    const __m512 below = _mm512_permutexvar_ps(lower, level), above = _mm512_permutexvar_ps(upper, level);
    const __m512i p = _mm512_castps_si512(_mm512_div_ps(_mm512_sub_ps(at, below), _mm512_sub_ps(above, below)));
    const __m512i bounded = _mm512_min_epi32(_mm512_max_epi32(p, _mm512_setzero_si512()), below_one);
    const __m512i words = _mm512_cvttps_epu32(_mm512_mul_ps(_mm512_castsi512_ps(bounded), _mm512_set1_ps(0x1p32f)));
    const __mmask16 up = _mm512_cmplt_epu32_mask(_mm512_maskz_loadu_epi32(lanes, random + i), words);
    store_codes(codes + i, lanes, _mm512_min_epi32(_mm512_mask_add_epi32(lower, up, lower, one), last));
  }
}

[[BITTERN_TARGET]] void look_up_avx512(const float* level, int bits, const std::uint8_t* codes, float scale,
                                       std::int64_t n, float* out) {
  // (level * scale) once for all: the same products as one by one.
  const __m512 table = _mm512_mul_ps(table_of(level, bits), _mm512_set1_ps(scale));
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = lanes_at(i, n);
    const __m512i index = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, codes + i));
    _mm512_mask_storeu_ps(out + i, lanes, _mm512_permutexvar_ps(index, table));
  }
}

#undef BITTERN_VECTOR
#undef BITTERN_TARGET
#endif

template <int Bits>
void find(const Codebook& book, const float* x, const std::uint32_t* random, std::int64_t n, std::uint8_t* codes) {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512) return find_avx512<Bits>(book, x, random, n, codes);
#endif
  find_plain<Bits>(book, x, random, n, codes);
}

}  // namespace

void find_codes(const Codebook& book, const float* x, const std::uint32_t* random, std::int64_t n,
                std::uint8_t* codes) {
  if (book.bits == 2) return find<2>(book, x, random, n, codes);
  if (book.bits == 3) return find<3>(book, x, random, n, codes);
  find<4>(book, x, random, n, codes);
}

void look_up(const float* level, int bits, const std::uint8_t* codes, float scale, std::int64_t n, float* out) {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512) return look_up_avx512(level, bits, codes, scale, n, out);
#endif
  look_up_plain(level, codes, scale, n, out);
}

}  // namespace bittern::cpu
