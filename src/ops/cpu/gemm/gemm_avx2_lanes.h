// Vectors of AVX2 for gemm_template.h. Included by gemm_avx2.cpp and gemm_avx_vnni.cpp, each inside its unnamed
// namespace after it has defined BITTERN_TARGET: the two must not share one copy.

#define BITTERN_INLINE BITTERN_TARGET [[gnu::always_inline]] static inline

/// 6 x 16: 12 accumulators, two vectors of B, one broadcast of A: 15 of 16 registers.
struct Avx2Lanes {
  using Words = __m256i;
  using Acc = __m256;
  using Floats = Avx2Lanes;
  static constexpr int lanes = 8, mr = 6;

  BITTERN_INLINE Words zero_words() { return _mm256_setzero_si256(); }
  BITTERN_INLINE Words load_words(const std::uint32_t* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  BITTERN_INLINE void store_words(std::uint32_t* p, Words x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  BITTERN_INLINE Words broadcast(const void* p) {
    std::int32_t word;
    std::memcpy(&word, p, sizeof word);
    return _mm256_set1_epi32(word);
  }
  BITTERN_INLINE Acc zero_acc() { return _mm256_setzero_ps(); }
  BITTERN_INLINE Acc first_sum(const std::uint32_t*) { return zero_acc(); }
  BITTERN_INLINE Acc floats(Acc x) { return x; }
  BITTERN_INLINE Acc all(float x) { return _mm256_set1_ps(x); }
  BITTERN_INLINE Acc add(Acc x, Acc y) { return _mm256_add_ps(x, y); }
  BITTERN_INLINE Acc multiply(Acc x, Acc y) { return _mm256_mul_ps(x, y); }

  BITTERN_INLINE __m256i first(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  /// `count` elements as floats; the rest is zero.
  BITTERN_INLINE Acc load(const float* p, int count = 8) {
    return count >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, first(count));
  }
  BITTERN_INLINE Acc load(const std::int32_t* p) {
    return _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  BITTERN_INLINE Acc load(const bf16* p, int count = 8) {
    const __m128i halves = count >= 8 ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)) : some_halves(p, count);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
  /// Fewer than eight bf16: four or more are read as two overlapping halves, fewer one by one.
  BITTERN_INLINE __m128i some_halves(const bf16* p, int count) {
    std::uint64_t low = 0, high = 0;
    if (count > 4) {
      std::memcpy(&low, p, sizeof low);
      std::memcpy(&high, p + count - 4, sizeof high);
      high >>= 16 * (8 - count);
    } else {
      for (int i = 0; i < count; ++i) low |= static_cast<std::uint64_t>(p[i].bits) << (16 * i);
    }
    return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
  }
  BITTERN_INLINE void store(float* p, Acc x, int count = 8) {
    if (count >= 8)
      _mm256_storeu_ps(p, x);
    else
      _mm256_maskstore_ps(p, first(count), x);
  }
  BITTERN_INLINE void store(bf16* p, Acc x, int count = 8) {
    const __m256i words = _mm256_srli_epi32(rounded(x), 16);
    const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    if (count >= 8) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), halves);
    } else {
      bf16 all_eight[8];
      _mm_storeu_si128(reinterpret_cast<__m128i*>(all_eight), halves);
      for (int i = 0; i < count; ++i) p[i] = all_eight[i];
    }
  }
  template <class C>
  BITTERN_INLINE void store_two(C* p, Acc x, Acc y) {
    store(p, x);
    store(p + lanes, y);
  }
  /// to_bf16 (quant/bf16.h), left in the upper halves; the lower ones are to be ignored.
  BITTERN_INLINE Words rounded(Acc x) {
    const Words bits = _mm256_castps_si256(x);
    const Words odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const Words up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const Words quiet_nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    return _mm256_blendv_epi8(up, quiet_nan, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
  }

  BITTERN_INLINE Words words(Acc x) { return _mm256_castps_si256(x); }
  /// to_bf16 on floats that stay floats.
  BITTERN_INLINE Words rounded_words(Acc x) {
    return _mm256_and_si256(rounded(x), _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
  }

  // Pairs of words, then of double words, then the 128-bit halves change places.
  BITTERN_INLINE void transpose(Words (&r)[8]) {
    Words t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4) {
      r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
      r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
      r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
      r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 4; ++i) {
      const Words low = r[i], high = r[i + 4];
      r[i] = _mm256_permute2x128_si256(low, high, 0x20);
      r[i + 4] = _mm256_permute2x128_si256(low, high, 0x31);
    }
  }
};

/// `all` bytes at p, or where fewer exist (`count`) a copy of them that is filled up with zeros.
template <int all>
BITTERN_INLINE const std::int8_t* filled_up(const std::int8_t* p, int count, std::int8_t (&copy)[all]) {
  if (count >= all) return p;
  std::memset(copy, 0, all);
  return static_cast<const std::int8_t*>(std::memcpy(copy, p, static_cast<std::size_t>(count)));
}

/// Sums of integers in 32 bits.
struct Avx2Integers : Avx2Lanes {
  using Acc = __m256i;
  static constexpr bool unsigned_a = false;
  BITTERN_INLINE Acc zero_acc() { return _mm256_setzero_si256(); }
  BITTERN_INLINE Acc first_sum(const std::uint32_t*) { return zero_acc(); }
  BITTERN_INLINE Floats::Acc floats(Acc x) { return _mm256_cvtepi32_ps(x); }
  BITTERN_INLINE Acc add(Acc x, Acc y) { return _mm256_add_epi32(x, y); }
  BITTERN_INLINE Acc load(const std::int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  BITTERN_INLINE void store(std::int32_t* p, Acc x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
};
