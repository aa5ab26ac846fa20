#include "ops/cpu/decode_e4m3.h"

#include "ops/cpu/cpu_features.h"
#include "ops/cpu/intrinsics.h"
#include "ops/cpu/simd.h"

namespace bittern::cpu {
namespace {

/// By sixteen-bit arithmetic. The magnitude of a code is the least of four lines (normal values, then slopes 2, 4 and 8
/// times as steep for the subnormal ones, whose exponent falls with each leading zero), and 0 for 0.
inline void decode_plain(bf16* out, const std::uint8_t* codes, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const auto m = static_cast<std::int16_t>(codes[i] & 0x7f);
    const auto normal = static_cast<std::int16_t>(0x3c00 + 16 * m), twice = static_cast<std::int16_t>(0x3b80 + 32 * m);
    const auto four = static_cast<std::int16_t>(0x3b00 + 64 * m), eight = static_cast<std::int16_t>(0x3a80 + 128 * m);
    const std::int16_t upper = normal < twice ? normal : twice, lower = four < eight ? four : eight;
    const std::int16_t least = upper < lower ? upper : lower;
    const auto some = static_cast<std::int16_t>(m == 0 ? 0 : -1);
    const auto nan = static_cast<std::int16_t>(m == 0x7f ? 0x7fc0 : 0);
    const auto sign = static_cast<std::int16_t>((codes[i] & 0x80) << 8);
    out[i].bits = static_cast<std::uint16_t>((least & some) | nan | sign);
  }
}

#if defined(__x86_64__)
/// 32 codes at a time, half of the instructions: NaN, 0 and the subnormal values, nine neighbours once the magnitudes
/// are counted from NaN on, come from a table in a register; the others lie on one line.
[[gnu::target("avx512f,avx512bw,avx512vl")]] void decode_avx512(bf16* out, const std::uint8_t* codes,
                                                                std::int64_t count) {
  alignas(64) constexpr std::uint16_t rare[32] = {0x7ff0, 0x0000, 0x3b00, 0x3b80, 0x3bc0,
                                                  0x3c00, 0x3c20, 0x3c40, 0x3c60};
  const __m512i table = _mm512_load_si512(rare), magnitude = _mm512_set1_epi16(0x7f), one = _mm512_set1_epi16(1),
                rare_end = _mm512_set1_epi16(9), line = _mm512_set1_epi16(0x3c00 - 16),
                sign = _mm512_set1_epi16(static_cast<short>(0x8000));
  for (std::int64_t i = 0; i < count; i += 32) {
    const __mmask32 some = count - i >= 32 ? ~__mmask32{0} : (__mmask32{1} << (count - i)) - 1;
    const __m512i code = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(some, codes + i));
    const __m512i from_nan = _mm512_and_si512(_mm512_add_epi16(code, one), magnitude);
    const __m512i normal = _mm512_add_epi16(_mm512_slli_epi16(from_nan, 4), line);
    const __m512i value =
        _mm512_mask_permutexvar_epi16(normal, _mm512_cmplt_epu16_mask(from_nan, rare_end), from_nan, table);
    const __m512i with_sign = _mm512_or_si512(value, _mm512_and_si512(_mm512_slli_epi16(code, 8), sign));
    _mm512_mask_storeu_epi16(out + i, some, with_sign);
  }
}
#endif

}  // namespace

void decode_e4m3(bf16* out, const std::uint8_t* codes, std::int64_t count) {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512) return decode_avx512(out, codes, count);
#endif
  simd([&] { decode_plain(out, codes, count); });
}

}  // namespace bittern::cpu
