// Decodes E4M3 codes to bf16, with code of its own for each instruction set.
#include "ops/cpu/codes/decode_e4m3.h"

#include "ops/cpu/machine/cpu_features.h"
#include "ops/cpu/machine/intrinsics.h"
#include "ops/cpu/machine/simd.h"

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
#define BITTERN_TARGET [[gnu::target("avx512f,avx512bw,avx512vl")]]
#define BITTERN_INLINE BITTERN_TARGET [[gnu::always_inline]] static inline
#include "ops/cpu/codes/e4m3_avx512.h"

/// Half of the plain form's instructions.
BITTERN_TARGET void decode_avx512(bf16* out, const std::uint8_t* codes, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 32) {
    const __mmask32 some = count - i >= 32 ? ~__mmask32{0} : (__mmask32{1} << (count - i)) - 1;
    const __m512i code = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(some, codes + i));
    _mm512_mask_storeu_epi16(out + i, some, e4m3_to_bf16(code));
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
