// integer: rounding onto a grid of small integers lo .. hi, for weights (DQT, BitNet; the grids are weight_codec.h's)
// and activations, and the codes of its levels, two's complement of n bits: a value is level * scale (scales.h).
#pragma once

#include <cstdint>

#include "bittern/host_device.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/stochastic.h"

namespace bittern {

/// The code of a level, in the low `bits` bits.
BITTERN_HD std::uint8_t code_of_level(std::int32_t level, int bits) {
  return static_cast<std::uint8_t>(static_cast<std::uint32_t>(level) & ((1u << bits) - 1u));
}
/// The level of a code, whatever stands above its `bits` bits.
BITTERN_HD std::int32_t level_of(std::uint8_t code, int bits) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(code) << (32 - bits)) >> (32 - bits);
}

namespace integer_detail {

/// t within [lo, hi]; a NaN becomes lo.
BITTERN_HD float clamp(float t, std::int32_t lo, std::int32_t hi) {
  const float low = static_cast<float>(lo), high = static_cast<float>(hi);
  const float above = t > low ? t : low;
  return above < high ? above : high;
}

}  // namespace integer_detail

/// The nearest level, ties to even; beyond the ends, the end. |lo|, |hi| <= 2^21.
BITTERN_HD std::int32_t round_nearest_even_to_grid(float t, std::int32_t lo, std::int32_t hi) {
  constexpr float rounder = 0x1.8p23f;  // a float whose last bit is worth 1: adding it rounds to integers
  const std::uint32_t rounded = float_bits(integer_detail::clamp(t, lo, hi) + rounder);
  return static_cast<std::int32_t>(rounded - float_bits(rounder));
}

/// round_nearest_even_to_grid, as a byte, of a number whose nearest level is one of -128 to 127: the last bits of the sum.
BITTERN_HD std::uint8_t to_i8_in_range(float t) {
  return static_cast<std::uint8_t>(float_bits(t + 0x1.8p23f));
}

/// One of the two neighbouring levels, E = t within [lo, hi]; beyond the ends, the end (so there it is biased). A level
/// never moves. Uses all 32 bits of the uniform word `random`.
///
/// This is floor(a) + (u < a - floor(a)) for the magnitude a = |t|, with t's sign. a - floor(a) is exact, so every
/// probability is right to 2^-32; t - floor(t) of a small negative t is not, and would lose the flips rarer than 2^-25.
BITTERN_HD std::int32_t round_stochastic_to_grid(float t, std::int32_t lo, std::int32_t hi, std::uint32_t random) {
  const float clamped = integer_detail::clamp(t, lo, hi);
  const float a = bits_float(float_bits(clamped) & 0x7fffffffu);
  const std::int32_t whole = static_cast<std::int32_t>(a);
  const std::int32_t level = whole + static_cast<std::int32_t>(chance(a - static_cast<float>(whole), random));
  const std::int32_t minus = static_cast<std::int32_t>(float_bits(clamped)) >> 31;  // -1 or 0: a branch-free sign
  return (level ^ minus) - minus;
}

}  // namespace bittern
