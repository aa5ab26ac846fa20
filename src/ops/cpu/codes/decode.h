// decode: codes of a quantized matrix as bf16, which holds every one of them exactly (E4M3, integers of 2 to 8 bits),
// or integers as bytes.
//
// Plain loops for the body of simd() (simd.h); E4M3 has a file of its own. An integer takes the upper half of its float.
// Packed integers are first spread to bytes, some hundred at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bittern/dtype.h"
#include "bittern/quant/bf16.h"
#include "ops/cpu/codes/code_rows.h"
#include "ops/cpu/codes/decode_e4m3.h"

namespace bittern::cpu {

/// Integers of one byte, of which the low `bits` count.
template <int bits>
inline void decode_bytes(bf16* out, const std::uint8_t* codes, std::int64_t count) {
  constexpr int sign = 1 << (bits - 1);
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const auto level = static_cast<std::int8_t>(bits == 8 ? codes[i] : (codes[i] ^ sign) - sign);
    out[i].bits = static_cast<std::uint16_t>(float_bits(static_cast<float>(level)) >> 16);
  }
}

template <int bits>
inline void decode_packed(bf16* out, const std::uint8_t* packed, std::int64_t count) {
  constexpr std::int64_t some = 512;
  std::uint8_t codes[some];
  for (std::int64_t i = 0; i < count; i += some) {
    const std::int64_t n = std::min(some, count - i);
    unpack_bytes<bits>(codes, packed + i / 8 * bits, n);
    decode_bytes<bits>(out + i, codes, n);
  }
}

/// out (count) = the codes that begin at the byte `codes`.
inline void decode(bf16* out, DType dtype, const void* codes, std::int64_t count) {
  const auto* bytes = static_cast<const std::uint8_t*>(codes);
  switch (dtype) {
    case DType::e4m3:
      return decode_e4m3(out, bytes, count);
    case DType::i8:
      return decode_bytes<8>(out, bytes, count);
    case DType::i7:
      return decode_packed<7>(out, bytes, count);
    case DType::i6:
      return decode_packed<6>(out, bytes, count);
    case DType::i5:
      return decode_packed<5>(out, bytes, count);
    case DType::i4:
      return decode_packed<4>(out, bytes, count);
    case DType::i3:
      return decode_packed<3>(out, bytes, count);
    case DType::i2:
      return decode_packed<2>(out, bytes, count);
    default:
      break;  // not codes: the callers' checks refuse it
  }
}

template <int bits>
inline void widen_to_bytes(std::int8_t* out, const std::uint8_t* packed, std::int64_t count) {
  constexpr int sign = 1 << (bits - 1);
  auto* const codes = reinterpret_cast<std::uint8_t*>(out);
  unpack_bytes<bits>(codes, packed, count);
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<std::int8_t>((codes[i] ^ sign) - sign);
}

/// out (count) = the integers, of fewer than 8 bits, that begin at the byte `codes`.
inline void decode_integers(std::int8_t* out, DType dtype, const void* codes, std::int64_t count) {
  const auto* bytes = static_cast<const std::uint8_t*>(codes);
  switch (dtype) {
    case DType::i7:
      return widen_to_bytes<7>(out, bytes, count);
    case DType::i6:
      return widen_to_bytes<6>(out, bytes, count);
    case DType::i5:
      return widen_to_bytes<5>(out, bytes, count);
    case DType::i4:
      return widen_to_bytes<4>(out, bytes, count);
    case DType::i3:
      return widen_to_bytes<3>(out, bytes, count);
    case DType::i2:
      return widen_to_bytes<2>(out, bytes, count);
    default:
      break;  // not packed integers: the callers do not ask
  }
}

}  // namespace bittern::cpu
