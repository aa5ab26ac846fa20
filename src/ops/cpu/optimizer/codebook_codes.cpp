// Finds the codes of values in a codebook, and the values of codes, with code of its own for each instruction set.
#include "ops/cpu/optimizer/codebook_codes.h"

#include "bittern/quant/dynamic8.h"
#include "bittern/quant/stochastic.h"
#include "ops/cpu/machine/intrinsics.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {
namespace {

// ---- Plain loops

template <int Bits>
void find_plain(const Codebook& book, const float* x, float inverse, const std::uint32_t* random, std::int64_t n,
                std::uint8_t* codes) {
  simd([&] {
    alignas(64) float threshold[1 << Bits], level[1 << Bits];
    for (int k = 0; k < 1 << Bits; ++k) {
      threshold[k] = book.threshold[k];
      level[k] = book.level[k];
    }
    const std::int32_t levels = book.levels;
    const float* const from = x;
    const float inv = inverse;
    const std::uint32_t* const word = random;
    std::uint8_t* const to = codes;
    if (word == nullptr) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i)
        to[i] = static_cast<std::uint8_t>(nearest_code<Bits>(from[i] * inv, threshold));
    } else {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i)
        to[i] = static_cast<std::uint8_t>(stochastic_code<Bits>(from[i] * inv, level, levels, word[i]));
    }
  });
}

/// Known by its levels' place: this is asked for every block of a moment, and names take longer to compare.
const Dynamic8* table_of_dynamic8(const Codebook& book) {
  return book.level == dynamic_exponent<8, true, true>.level    ? &dynamic8_signed
         : book.level == dynamic_exponent<8, false, true>.level ? &dynamic8_unsigned
                                                                : nullptr;
}

// What a loop that stores bytes reads is copied to variables of its own first: a byte may lie anywhere, also in what
// the lambda holds, and then nothing is vectorised.
void find_nearest_plain(const Codebook& book, const float* values, float inverse, std::int64_t n, std::uint8_t* codes) {
  const Dynamic8* const direct = table_of_dynamic8(book);
  simd([&] {
    const float* const x = values;
    const float inv = inverse;
    std::uint8_t* const q = codes;
    if (direct != nullptr) {
      const Dynamic8* const table = direct;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) q[i] = static_cast<std::uint8_t>(nearest_code(x[i] * inv, *table));
    } else {
      const float* const threshold = book.threshold;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) q[i] = static_cast<std::uint8_t>(nearest_code<8>(x[i] * inv, threshold));
    }
  });
}

/// codes: of the nearest levels before, of one of the two beside values * inverse after.
void choose_stochastically(const Codebook& book, const float* values, float inverse, const std::uint32_t* random,
                           std::int64_t n, std::uint8_t* codes) {
  simd([&] {
    const float *const x = values, *const level = book.level;
    const float inv = inverse;
    const std::uint32_t* const word = random;
    const std::int32_t levels = book.levels;
    std::uint8_t* const q = codes;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i)
      q[i] = static_cast<std::uint8_t>(stochastic_code(x[i] * inv, q[i], level, levels, word[i]));
  });
}

void look_up_plain(const float* level, const std::uint8_t* codes, float scale, std::int64_t n, float* out) {
  simd([=] {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) out[i] = level[codes[i]] * scale;
  });
}

#if defined(__x86_64__)
// ---- AVX2: a table in two registers. What is left of a row after the last eight goes to the plain loops.

#define BITTERN_TARGET gnu::target("avx2,fma")
#define BITTERN_VECTOR [[gnu::always_inline, BITTERN_TARGET]] static inline

struct Table256 {
  __m256 low, high;
};
BITTERN_VECTOR Table256 halves_of(const float* numbers, int bits) {
  alignas(32) float all[16] = {};
  for (int k = 0; k < 1 << bits; ++k) all[k] = numbers[k];
  return {_mm256_load_ps(all), _mm256_load_ps(all + 8)};
}
template <int Bits>
BITTERN_VECTOR __m256 number_at(__m256i index, Table256 table) {
  const __m256 low = _mm256_permutevar8x32_ps(table.low, index);
  if constexpr (Bits <= 3) return low;
  const __m256 high = _mm256_permutevar8x32_ps(table.high, index);
  return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));  // by bit 3, as a sign
}

/// The nearest codes of the first n / 8 * 8 elements.
template <int Bits>
[[BITTERN_TARGET]] void find_nearest_avx2(const Codebook& book, const float* x, float inverse, std::int64_t n,
                                          std::uint8_t* codes) {
  const Table256 threshold = halves_of(book.threshold, Bits);
  const __m256 scale = _mm256_set1_ps(inverse);
  const __m256i low_bytes = _mm256_set1_epi32(0x0c080400), ends = _mm256_setr_epi32(0, 4, 0, 0, 0, 0, 0, 0);
  for (std::int64_t i = 0; i + 8 <= n; i += 8) {
    const __m256 at = _mm256_mul_ps(_mm256_loadu_ps(x + i), scale);
    __m256i code = _mm256_setzero_si256();
    for (int step = 1 << (Bits - 1); step > 0; step /= 2) {
      const __m256i by = _mm256_set1_epi32(step);
      const __m256 bound = number_at<Bits>(_mm256_or_si256(code, by), threshold);
      const __m256i reached = _mm256_castps_si256(_mm256_cmp_ps(at, bound, _CMP_GE_OQ));
      code = _mm256_or_si256(code, _mm256_and_si256(reached, by));
    }
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(code, low_bytes), ends);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(codes + i), _mm256_castsi256_si128(bytes));
  }
}

template <int Bits>
[[BITTERN_TARGET]] void look_up_avx2(const float* level, int bits, const std::uint8_t* codes, float scale,
                                     std::int64_t n, float* out) {
  const Table256 table = halves_of(level, bits);
  const __m256 factor = _mm256_set1_ps(scale);
  for (std::int64_t i = 0; i + 8 <= n; i += 8) {
    const __m256i index = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i)));
    _mm256_storeu_ps(out + i, _mm256_mul_ps(number_at<Bits>(index, table), factor));
  }
}

#undef BITTERN_VECTOR
#undef BITTERN_TARGET

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
[[BITTERN_TARGET]] void find_avx512(const Codebook& book, const float* x, float inverse, const std::uint32_t* random,
                                    std::int64_t n, std::uint8_t* codes) {
  const __m512 scale = _mm512_set1_ps(inverse);
  if (random == nullptr) {
    const __m512 threshold = table_of(book.threshold, Bits);
    for (std::int64_t i = 0; i < n; i += 16) {
      const __mmask16 lanes = lanes_at(i, n);
      const __m512 at = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), scale);
      store_codes(codes + i, lanes, count_reached<Bits>(at, threshold));
    }
    return;
  }
  // stochastic_code and chance (quant/stochastic.h), their tables in registers.
  const __m512 level = table_of(book.level, Bits);
  const __m512i one = _mm512_set1_epi32(1), end = _mm512_set1_epi32((1 << Bits) - 1);
  const __m512i last = _mm512_set1_epi32(book.levels - 1),
                end_of_chance = _mm512_set1_epi32(chance_detail::largest_below_one);
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = lanes_at(i, n);
    const __m512 at = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), scale);
    const __m512i lower = count_reached<Bits>(at, level);
    const __m512i upper = _mm512_min_epi32(_mm512_add_epi32(lower, one), end);
    const __m512 below = _mm512_permutexvar_ps(lower, level), above = _mm512_permutexvar_ps(upper, level);
    const __m512i p = _mm512_castps_si512(_mm512_div_ps(_mm512_sub_ps(at, below), _mm512_sub_ps(above, below)));
    const __m512i bounded = _mm512_min_epi32(_mm512_max_epi32(p, _mm512_setzero_si512()), end_of_chance);
    const __m512 words = _mm512_mul_ps(_mm512_castsi512_ps(bounded), _mm512_set1_ps(chance_detail::words));
    const __mmask16 up =
        _mm512_cmplt_epu32_mask(_mm512_maskz_loadu_epi32(lanes, random + i), _mm512_cvttps_epu32(words));
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

/// As nearest_code(x, table) does it.
[[BITTERN_TARGET]] void find_dynamic8_avx512(const Dynamic8& table, const float* x, float inverse, std::int64_t n,
                                             std::uint8_t* codes) {
  const __m512 scale = _mm512_set1_ps(inverse);
  const __m512i first = _mm512_set1_epi32(Dynamic8::first_bucket), last = _mm512_set1_epi32(Dynamic8::last_bucket);
  const __m512i buckets = _mm512_set1_epi32(Dynamic8::buckets), low_half = _mm512_set1_epi32(0xffff);
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = lanes_at(i, n);
    const __m512i bits = _mm512_castps_si512(_mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), scale));
    const __mmask16 negative = _mm512_movepi32_mask(bits);
    const __m512i half = _mm512_srli_epi32(_mm512_slli_epi32(bits, 1), 17);
    const __m512i bucket = _mm512_sub_epi32(_mm512_min_epi32(_mm512_max_epi32(half, first), last), first);
    const __m512i at = _mm512_mask_add_epi32(bucket, negative, bucket, buckets);
    const __m512i entry = _mm512_i32gather_epi32(at, table.entry, 4);
    const __m512i place = _mm512_and_si512(_mm512_mask_xor_epi32(bits, negative, bits, low_half), low_half);
    const __mmask16 beyond = _mm512_cmpgt_epu32_mask(place, _mm512_srli_epi32(entry, 16));
    store_codes(codes + i, lanes, _mm512_mask_add_epi32(entry, beyond, entry, _mm512_set1_epi32(1)));
  }
}

/// g++ knows the instruction that gathers, and takes the elements one by one all the same: twice as long.
[[BITTERN_TARGET]] void gather_avx512(const float* level, const std::uint8_t* codes, float scale, std::int64_t n,
                                      float* out) {
  const __m512 factor = _mm512_set1_ps(scale);
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = lanes_at(i, n);
    const __m512i index = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, codes + i));
    _mm512_mask_storeu_ps(out + i, lanes, _mm512_mul_ps(_mm512_i32gather_ps(index, level, 4), factor));
  }
}

#undef BITTERN_VECTOR
#undef BITTERN_TARGET
#endif

template <int Bits>
void find(const Codebook& book, const float* x, float inverse, const std::uint32_t* random, std::int64_t n,
          std::uint8_t* codes) {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512) return find_avx512<Bits>(book, x, inverse, random, n, codes);
  if (isa() >= Isa::avx2 && random == nullptr) {
    find_nearest_avx2<Bits>(book, x, inverse, n, codes);
    const std::int64_t done = n / 8 * 8;
    return find_plain<Bits>(book, x + done, inverse, nullptr, n - done, codes + done);
  }
#endif
  find_plain<Bits>(book, x, inverse, random, n, codes);
}

void find_nearest(const Codebook& book, const float* x, float inverse, std::int64_t n, std::uint8_t* codes) {
#if defined(__x86_64__)
  const Dynamic8* const table = table_of_dynamic8(book);
  if (isa() >= Isa::avx512 && table != nullptr) return find_dynamic8_avx512(*table, x, inverse, n, codes);
#endif
  find_nearest_plain(book, x, inverse, n, codes);
}

}  // namespace

void find_codes(const Codebook& book, const float* x, float inverse, const std::uint32_t* random, std::int64_t n,
                std::uint8_t* codes) {
  if (book.bits == 2) return find<2>(book, x, inverse, random, n, codes);
  if (book.bits == 3) return find<3>(book, x, inverse, random, n, codes);
  if (book.bits == 4) return find<4>(book, x, inverse, random, n, codes);
  find_nearest(book, x, inverse, n, codes);
  if (random != nullptr) choose_stochastically(book, x, inverse, random, n, codes);
}

void look_up(const float* level, int bits, const std::uint8_t* codes, float scale, std::int64_t n, float* out) {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512)
    return bits <= 4 ? look_up_avx512(level, bits, codes, scale, n, out) : gather_avx512(level, codes, scale, n, out);
  if (isa() >= Isa::avx2 && bits <= 4) {
    bits <= 3 ? look_up_avx2<3>(level, bits, codes, scale, n, out) : look_up_avx2<4>(level, bits, codes, scale, n, out);
    const std::int64_t done = n / 8 * 8;
    return look_up_plain(level, codes + done, scale, n - done, out + done);
  }
#endif
  look_up_plain(level, codes, scale, n, out);
}

}  // namespace bittern::cpu
