// Words of two bf16 that are neighbours along k, the first in the lower half: what VDPBF16PS and TDPBF16PS multiply.
// Included by gemm_avx512_bf16.cpp and gemm_amx.cpp, each inside its unnamed namespace after gemm_avx512_lanes.h.
//
// Here are the Loads of both (gemm_template.h): a type of which a packer shall read words directly is one more of them,
// and an entry of the pack tables in gemm_avx512_bf16.cpp and gemm_amx.cpp.

#include "ops/cpu/codes/e4m3_avx512.h"

struct PairLanes : Avx512Lanes {
  using Floats = PairLanes;
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  // The instruction rounds as to_bf16 does, but for denormals, which are zero here anyway.
  using Avx512Lanes::store;
  BITTERN_INLINE void store(bf16* p, Acc x, int count = 16) {
    const auto halves = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
    if (count >= 16)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), halves);
    else
      _mm256_mask_storeu_epi16(p, first(count), halves);
  }
  using Avx512Lanes::store_two;
  BITTERN_INLINE void store_two(bf16* p, Acc x, Acc y) {
    _mm512_storeu_si512(p, reinterpret_cast<Words>(_mm512_cvtne2ps_pbh(y, x)));
  }
  /// The floats of `even` and `odd` in turn, rounded.
  BITTERN_INLINE Words pairs(Acc even, Acc odd) {
    const Words interleaved = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,  //
                                               23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(interleaved, reinterpret_cast<Words>(_mm512_cvtne2ps_pbh(odd, even)));
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
    return Lanes::pairs(Lanes::load(p, count), Lanes::load(q, has_q ? count : 0));
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

/// Decoded in the register on its way: codes that pass through a stage are stored and loaded once more.
struct LoadE4m3 {
  using Lanes = PairLanes;
  using Stored = std::uint8_t;
  static constexpr int per_word = 2;
  BITTERN_INLINE __m512i along(const std::uint8_t* p, int count = 32) {
    return e4m3_to_bf16(_mm512_cvtepu8_epi16(count >= 32 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))
                                                         : _mm256_maskz_loadu_epi8((1u << count) - 1u, p)));
  }
  BITTERN_INLINE __m512i bytes(const std::uint8_t* p, int count) {
    return _mm512_cvtepu8_epi32(count >= 16 ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))
                                            : _mm_maskz_loadu_epi8(Lanes::first(count), p));
  }
  BITTERN_INLINE __m512i across(const std::uint8_t* p, const std::uint8_t* q, int count = 16, bool has_q = true) {
    return e4m3_to_bf16(Lanes::pairs(bytes(p, count), bytes(q, has_q ? count : 0)));
  }
};

template <class T>
struct LoadScaled {
  using Lanes = PairLanes;
  using Stored = T;
  static constexpr int per_word = 2;
  static constexpr bool scales_k = true;
  BITTERN_INLINE __m512 scaled(const T* p, int count, const float* scales) {
    return Lanes::multiply(Lanes::load(p, count), Lanes::load(scales, count));
  }
  BITTERN_INLINE __m512i along(const T* p, int count, const float* scales) {
    const __m512 upper = count > 16 ? scaled(p + 16, count - 16, scales + 16) : _mm512_setzero_ps();
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(upper, scaled(p, count, scales)));
  }
  BITTERN_INLINE __m512i across(const T* p, const T* q, int count, bool has_q, float p_scale, float q_scale) {
    return Lanes::pairs(Lanes::multiply(Lanes::load(p, count), Lanes::all(p_scale)),
                        Lanes::multiply(Lanes::load(q, has_q ? count : 0), Lanes::all(q_scale)));
  }
};
