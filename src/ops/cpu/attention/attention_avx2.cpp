// The attention kernels for AVX2 and FMA. bf16 tensors become f32 while they are packed, and cost no more than f32
// ones.
#include "ops/cpu/attention/attention.h"

#if defined(__x86_64__)
#include "ops/cpu/machine/intrinsics.h"

#define BITTERN_TARGET gnu::target("avx2,fma")

#include "ops/cpu/attention/attention_backward_tiles.h"
#include "ops/cpu/attention/attention_decode_tiles.h"
#include "ops/cpu/attention/attention_forward_tiles.h"

#define BITTERN_VECTOR [[gnu::always_inline, BITTERN_TARGET]] static inline

namespace bittern::cpu::attention {
namespace {

struct Avx2 {
  static constexpr std::int64_t width = 8, panel = 2 * width;
  static constexpr int row_rows = 6, column_rows = 6;  // 12 sums, 2 right operands, 1 left: 15 of 16 registers
  using V = __m256;

  BITTERN_VECTOR V zero() { return _mm256_setzero_ps(); }
  BITTERN_VECTOR V set(float x) { return _mm256_set1_ps(x); }
  BITTERN_VECTOR V broadcast(const float* at) { return _mm256_broadcast_ss(at); }
  BITTERN_VECTOR V load(const float* at) { return _mm256_loadu_ps(at); }
  BITTERN_VECTOR V load(const bf16* at) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  BITTERN_VECTOR void store(float* at, V x) { _mm256_storeu_ps(at, x); }
  /// To nearest, ties to even; a NaN stays one.
  BITTERN_VECTOR void store(bf16* at, V x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, nan, is_nan), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(upper, upper), 0xd8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm256_castsi256_si128(packed));
  }
  BITTERN_VECTOR V add(V a, V b) { return _mm256_add_ps(a, b); }
  BITTERN_VECTOR V sub(V a, V b) { return _mm256_sub_ps(a, b); }
  BITTERN_VECTOR V mul(V a, V b) { return _mm256_mul_ps(a, b); }
  BITTERN_VECTOR V div(V a, V b) { return _mm256_div_ps(a, b); }
  BITTERN_VECTOR V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  /// The larger, the smaller; b if one is not a number.
  BITTERN_VECTOR V max(V a, V b) { return _mm256_max_ps(a, b); }
  BITTERN_VECTOR V min(V a, V b) { return _mm256_min_ps(a, b); }
  BITTERN_VECTOR float sum(V x) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  /// Lanes from `first` on keep x, those before it get `other`.
  BITTERN_VECTOR V keep_from(std::int64_t first, V x, V other) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const int last_lost = static_cast<int>(smaller(first, width)) - 1;
    const __m256i keep = _mm256_cmpgt_epi32(lane, _mm256_set1_epi32(last_lost));
    return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(keep));
  }
  BITTERN_VECTOR V bits_as_number(V x) { return _mm256_cvtepi32_ps(_mm256_castps_si256(x)); }
  /// 2^x for x < 128; 0 below -126 (a NaN passes).
  BITTERN_VECTOR V exp2(V x) {
    const V bounded = _mm256_max_ps(set(-127.0f), x);
    const V floor = _mm256_floor_ps(bounded);
    const __m256i power = _mm256_add_epi32(_mm256_cvttps_epi32(floor), _mm256_set1_epi32(127));
    return mul(exp2_fraction<Avx2>(sub(bounded, floor)), _mm256_castsi256_ps(_mm256_slli_epi32(power, 23)));
  }
  BITTERN_VECTOR void transpose(V (&block)[8]) {
    V pairs[8], fours[8];
    for (int r = 0; r < 8; r += 2) {
      pairs[r] = _mm256_unpacklo_ps(block[r], block[r + 1]);
      pairs[r + 1] = _mm256_unpackhi_ps(block[r], block[r + 1]);
    }
    for (int r = 0; r < 8; r += 4)
      for (int i = 0; i < 2; ++i) {
        fours[r + 2 * i] = _mm256_shuffle_ps(pairs[r + i], pairs[r + i + 2], 0x44);
        fours[r + 2 * i + 1] = _mm256_shuffle_ps(pairs[r + i], pairs[r + i + 2], 0xee);
      }
    for (int r = 0; r < 4; ++r) {
      block[r] = _mm256_permute2f128_ps(fours[r], fours[r + 4], 0x20);
      block[r + 4] = _mm256_permute2f128_ps(fours[r], fours[r + 4], 0x31);
    }
  }
};

template <class E>
Kernels kernels() {
  using M = Fma<Avx2, E>;
  return {.lanes = {Avx2::width, Avx2::panel},
          .forward = forward<M>,
          .backward = backward<M>,
          .store_rows = store_rows<Avx2, E>,
          .decode = decode<Avx2, E>};
}

}  // namespace

Kernels avx2_kernels(DType dtype) {
  return dtype == DType::bf16 ? kernels<bf16>() : kernels<float>();
}

}  // namespace bittern::cpu::attention
#endif
