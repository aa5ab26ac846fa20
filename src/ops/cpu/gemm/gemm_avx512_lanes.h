// Vectors of AVX-512 for gemm_template.h. Included by gemm_avx512|avx512_bf16|avx512_vnni|amx.cpp, each inside its
// unnamed namespace after it has defined BITTERN_TARGET: they must not share one copy.

#define BITTERN_INLINE BITTERN_TARGET [[gnu::always_inline]] static inline

/// 14 x 32: 28 accumulators, two vectors of B, one broadcast of A: 31 of 32 registers, and 16 loads for 28
/// multiplications.
struct Avx512Lanes {
  using Words = __m512i;
  using Acc = __m512;
  using Floats = Avx512Lanes;
  static constexpr int lanes = 16, mr = 14;

  BITTERN_INLINE Words zero_words() { return _mm512_setzero_si512(); }
  BITTERN_INLINE Words load_words(const std::uint32_t* p) { return _mm512_load_si512(p); }
  BITTERN_INLINE void store_words(std::uint32_t* p, Words x) { _mm512_storeu_si512(p, x); }
  BITTERN_INLINE Words broadcast(const void* p) {
    std::int32_t word;
    std::memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
  }
  BITTERN_INLINE Acc zero_acc() { return _mm512_setzero_ps(); }
  BITTERN_INLINE Acc first_sum(const std::uint32_t*) { return zero_acc(); }
  BITTERN_INLINE Acc floats(Acc x) { return x; }
  BITTERN_INLINE Acc all(float x) { return _mm512_set1_ps(x); }
  BITTERN_INLINE Acc add(Acc x, Acc y) { return _mm512_add_ps(x, y); }
  BITTERN_INLINE Acc multiply(Acc x, Acc y) { return _mm512_mul_ps(x, y); }

  BITTERN_INLINE __mmask16 first(int count) { return static_cast<__mmask16>(count <= 0 ? 0 : (1u << count) - 1u); }
  /// `count` elements as floats; the rest is zero.
  BITTERN_INLINE Acc load(const float* p, int count = 16) {
    return count >= 16 ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(first(count), p);
  }
  BITTERN_INLINE Acc load(const std::int32_t* p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
  BITTERN_INLINE Acc load(const bf16* p, int count = 16) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(halves(p, count), 16));
  }
  /// `count` bf16 in the lower halves of words; the rest is zero.
  BITTERN_INLINE Words halves(const bf16* p, int count = 16) {
    return _mm512_cvtepu16_epi32(count >= 16 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))
                                             : _mm256_maskz_loadu_epi16(first(count), p));
  }
  BITTERN_INLINE void store(float* p, Acc x, int count = 16) {
    if (count >= 16)
      _mm512_storeu_ps(p, x);
    else
      _mm512_mask_storeu_ps(p, first(count), x);
  }
  BITTERN_INLINE void store(bf16* p, Acc x, int count = 16) {
    const __m256i halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded(x), 16));
    if (count >= 16)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), halves);
    else
      _mm256_mask_storeu_epi16(p, first(count), halves);
  }
  BITTERN_INLINE void store_two(float* p, Acc x, Acc y) {
    store(p, x);
    store(p + 16, y);
  }
  BITTERN_INLINE void store_two(bf16* p, Acc x, Acc y) {
    const Words upper_halves = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33,  //
                                                31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    _mm512_storeu_si512(p, _mm512_permutex2var_epi16(rounded(x), upper_halves, rounded(y)));
  }
  /// to_bf16 (quant/bf16.h), left in the upper halves; the lower ones are to be ignored.
  BITTERN_INLINE Words rounded(Acc x) {
    const Words bits = _mm512_castps_si512(x);
    const Words odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const Words up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const Words quiet_nan = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
    return _mm512_mask_mov_epi32(up, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), quiet_nan);
  }

  BITTERN_INLINE Words words(Acc x) { return _mm512_castps_si512(x); }
  /// to_bf16 on floats that stay floats.
  BITTERN_INLINE Words rounded_words(Acc x) {
    return _mm512_and_si512(rounded(x), _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  }

  // Pairs of words, then of double words, then of 128-bit quarters change places.
  BITTERN_INLINE void transpose(Words (&r)[16]) {
    Words t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 4) {
      r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
      r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
      r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
      r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 4; ++i) {  // r[i + 4 q] holds column i + 4 c of rows 4 q .. 4 q + 3 in its quarter c
      const Words even_lo = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88),
                  odd_lo = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
      const Words even_hi = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
      const Words odd_hi = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
      r[i] = _mm512_shuffle_i32x4(even_lo, even_hi, 0x88);
      r[i + 8] = _mm512_shuffle_i32x4(even_lo, even_hi, 0xdd);
      r[i + 4] = _mm512_shuffle_i32x4(odd_lo, odd_hi, 0x88);
      r[i + 12] = _mm512_shuffle_i32x4(odd_lo, odd_hi, 0xdd);
    }
  }
};

/// Sums of integers in 32 bits.
struct Avx512Integers : Avx512Lanes {
  using Acc = __m512i;
  static constexpr bool unsigned_a = false;
  BITTERN_INLINE Acc zero_acc() { return _mm512_setzero_si512(); }
  BITTERN_INLINE Acc first_sum(const std::uint32_t*) { return zero_acc(); }
  BITTERN_INLINE Floats::Acc floats(Acc x) { return _mm512_cvtepi32_ps(x); }
  BITTERN_INLINE Acc add(Acc x, Acc y) { return _mm512_add_epi32(x, y); }
  BITTERN_INLINE Acc load(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  BITTERN_INLINE void store(std::int32_t* p, Acc x) { _mm512_storeu_si512(p, x); }
};

/// Words of four bytes, each of them xor `flipped`.
template <class L, char flipped = 0>
struct LoadBytes {
  using Lanes = L;
  using Stored = std::int8_t;
  static constexpr int per_word = 4;
  BITTERN_INLINE __m512i along(const std::int8_t* p, int count = 64) {
    const __m512i bytes =
        count >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(~std::uint64_t{0} >> (64 - count), p);
    return flipped == 0 ? bytes : _mm512_xor_si512(bytes, _mm512_set1_epi8(flipped));
  }
};
