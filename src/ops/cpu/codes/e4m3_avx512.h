// E4M3 in a vector of AVX-512. Included by decode_e4m3.cpp and gemm_bf16_pairs.h inside unnamed namespaces, after
// BITTERN_TARGET and BITTERN_INLINE are defined: files must not share one copy.

/// 32 codes, one in the low byte of each half word (the high bytes are 0), as bf16. NaN, 0 and the subnormal values,
/// nine neighbours once the magnitudes are counted from NaN on, come from a table in a register; the others lie on one
/// line.
BITTERN_INLINE __m512i e4m3_to_bf16(__m512i code) {
  const __m512i rare = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  //
                                        0x3c60, 0x3c40, 0x3c20, 0x3c00, 0x3bc0, 0x3b80, 0x3b00, 0x0000, 0x7ff0);
  const __m512i from_nan = _mm512_and_si512(_mm512_add_epi16(code, _mm512_set1_epi16(1)), _mm512_set1_epi16(0x7f));
  const __m512i normal = _mm512_add_epi16(_mm512_slli_epi16(from_nan, 4), _mm512_set1_epi16(0x3c00 - 16));
  const __m512i magnitude =
      _mm512_mask_permutexvar_epi16(normal, _mm512_cmplt_epu16_mask(from_nan, _mm512_set1_epi16(9)), from_nan, rare);
  const __m512i sign = _mm512_and_si512(_mm512_slli_epi16(code, 8), _mm512_set1_epi16(static_cast<short>(0x8000)));
  return _mm512_or_si512(magnitude, sign);
}
