// bf16: the upper half of an IEEE float. Rounding to nearest even, and stochastic rounding that is unbiased.
#pragma once

#include <cstdint>
#include <cstring>

#include "bittern/host_device.h"

namespace bittern {

struct bf16 {
  std::uint16_t bits;
};

BITTERN_HD std::uint32_t float_bits(float x) {
  std::uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}
BITTERN_HD float bits_float(std::uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

BITTERN_HD float to_float(float x) {
  return x;
}
BITTERN_HD float to_float(bf16 x) {
  return bits_float(static_cast<std::uint32_t>(x.bits) << 16);
}

/// Nearest bf16, ties to even. A NaN stays a (quiet) NaN; a value above the largest bf16 becomes infinity, as IEEE
/// says.
BITTERN_HD bf16 to_bf16(float x) {
  const std::uint32_t u = float_bits(x);
  // Chosen before rounding, so that vectors are narrowed once; without its low half a NaN does not carry.
  const std::uint32_t quiet_nan = (u & 0xffff0000u) | 0x00400000u;
  const std::uint32_t chosen = x != x ? quiet_nan : u;
  return bf16{static_cast<std::uint16_t>((chosen + (0x7fffu + ((chosen >> 16) & 1u))) >> 16)};
}

/// One of the two neighbouring bf16 values, the upper one with probability (x - lower) / (upper - lower): E = x
/// exactly. `random` is a uniform 32-bit word, of which the low 16 bits are used. Infinities and NaN pass through.
BITTERN_HD bf16 to_bf16_stochastic(float x, std::uint32_t random) {
  const std::uint32_t u = float_bits(x);
  const bool special = (u & 0x7f800000u) == 0x7f800000u;
  const std::uint32_t rounded = (u + (random & 0xffffu)) >> 16;
  return special ? to_bf16(x) : bf16{static_cast<std::uint16_t>(rounded)};
}

/// T(x): a float stored as T.
template <typename T>
BITTERN_HD T from_float(float x);
template <>
BITTERN_HD float from_float<float>(float x) {
  return x;
}
template <>
BITTERN_HD bf16 from_float<bf16>(float x) {
  return to_bf16(x);
}

}  // namespace bittern
