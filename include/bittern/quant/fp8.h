// fp8: a float as eight bits, E4M3 (weights, activations) and E5M2 (gradients), by integer arithmetic on its bits.
//   E4M3   sign, 4 exponent bits (bias 7),  3 of fraction. Largest 448, subnormals below 2^-6  with quantum 2^-9.
//          No infinity; 0x7f and 0xff are NaN ("E4M3FN": Micikevicius et al. 2022, "FP8 formats for deep learning")
//   E5M2   sign, 5 exponent bits (bias 15), 2 of fraction. Largest 57344, subnormals below 2^-14 with quantum 2^-16.
//          0x7c is infinity, above it NaN
// Encoding saturates: what is larger than the largest value, infinity included, becomes the largest value. A NaN
// becomes 0x7f. Zero keeps its sign. Code + 1 is the next value away from zero, so a carry out of the fraction is right
// as it is.
#pragma once

#include <cstdint>

#include "bittern/host_device.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/stochastic.h"

namespace bittern {

/// The largest value of E4M3: what the largest magnitude that a scale serves becomes.
inline constexpr float largest_e4m3 = 448.0f;

namespace fp8_detail {

/// A format: its fraction bits, the exponent of its smallest normal value, the float bits of its largest value.
template <int FractionBits, int SmallestExponent, std::uint32_t LargestBits>
struct Format {
  static constexpr int dropped = 23 - FractionBits;  // fraction bits of a float that the code lacks
  static constexpr std::uint32_t smallest_normal = static_cast<std::uint32_t>(127 + SmallestExponent) << 23;
  static constexpr std::uint32_t rebias = static_cast<std::uint32_t>(126 + SmallestExponent) << FractionBits;
  static constexpr std::uint32_t largest = LargestBits;
  static constexpr std::uint32_t largest_code = (LargestBits >> dropped) - rebias;
  // A float whose last bit is worth one quantum: adding it rounds to quanta, ties to even.
  static constexpr std::uint32_t rounder = static_cast<std::uint32_t>(127 + SmallestExponent + dropped) << 23;
  // 1 / quantum and the quantum, as float bits.
  static constexpr std::uint32_t quanta = static_cast<std::uint32_t>(127 - SmallestExponent + FractionBits) << 23;
  static constexpr std::uint32_t quantum = static_cast<std::uint32_t>(127 + SmallestExponent - FractionBits) << 23;
};
using E4M3 = Format<3, -6, 0x43e00000u>;
using E5M2 = Format<2, -14, 0x47600000u>;

/// The code of a magnitude with the sign of the float u; of a NaN, whose magnitude came out as the largest, 0x7f. By
/// arithmetic, because g++ 12 makes a branch of a choice here, and no vectors of a loop with branches.
template <typename F>
BITTERN_HD std::uint8_t finish(std::uint32_t code, std::uint32_t u) {
  const std::uint32_t is_nan = (u & 0x7fffffffu) > 0x7f800000u;
  const std::uint32_t sign = (u >> 24) & 0x80u & (is_nan - 1u);
  return static_cast<std::uint8_t>((code + is_nan * (0x7fu - F::largest_code)) | sign);
}

/// The nearest code of a magnitude (float bits) that does not round to more than the largest value; ties to even. Adding
/// a float whose last bit is worth one quantum of the magnitude's binade (of the subnormal ones, at least) rounds to
/// quanta; the codes of a binade begin where its exponent says.
template <typename F>
BITTERN_HD std::uint32_t nearest_code(std::uint32_t magnitude) {
  const std::uint32_t of_binade = (magnitude & 0x7f800000u) + (static_cast<std::uint32_t>(F::dropped) << 23);
  const std::uint32_t rounder = of_binade > F::rounder ? of_binade : F::rounder;
  const std::uint32_t in_quanta = float_bits(bits_float(magnitude) + bits_float(rounder)) - rounder;
  return in_quanta + (rounder >> F::dropped) - (F::rounder >> F::dropped);
}

template <typename F>
BITTERN_HD std::uint8_t nearest(float x) {
  const std::uint32_t u = float_bits(x);
  const std::uint32_t magnitude = u & 0x7fffffffu;
  return finish<F>(nearest_code<F>(magnitude < F::largest ? magnitude : F::largest), u);
}

template <typename F>
BITTERN_HD std::uint8_t stochastic(float x, std::uint32_t random) {
  const std::uint32_t u = float_bits(x);
  const std::uint32_t magnitude = u & 0x7fffffffu;
  const std::uint32_t a = magnitude < F::largest ? magnitude : F::largest;
  const std::uint32_t normal = ((a + (random & ((1u << F::dropped) - 1u))) >> F::dropped) - F::rebias;
  const std::uint32_t is_subnormal = 0u - (a < F::smallest_normal);  // a mask, for the same reason
  const float t = bits_float(a & is_subnormal) * bits_float(F::quanta);
  const std::int32_t whole = static_cast<std::int32_t>(t);
  const std::uint32_t up = chance(t - static_cast<float>(whole), random);
  const std::uint32_t subnormal = static_cast<std::uint32_t>(whole) + up;
  return finish<F>((subnormal & is_subnormal) | (normal & ~is_subnormal), u);
}

/// The finite value of a code; not by a subnormal float, which a processor may flush to zero.
template <typename F>
BITTERN_HD float finite_value(std::uint32_t code) {
  const std::uint32_t magnitude = code & 0x7fu;
  const bool is_normal = magnitude >= (1u << (23 - F::dropped));
  const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * bits_float(F::quantum);
  const float value = is_normal ? bits_float((magnitude + F::rebias) << F::dropped) : subnormal;
  return bits_float(float_bits(value) | ((code & 0x80u) << 24));
}

}  // namespace fp8_detail

/// Nearest E4M3, ties to even.
BITTERN_HD std::uint8_t to_e4m3(float x) {
  return fp8_detail::nearest<fp8_detail::E4M3>(x);
}

/// to_e4m3 of a number that is not NaN and rounds to a magnitude of at most 448: half of the instructions. Code and sign
/// meet at the top of a word, so that a compiler narrows vectors once, and not each part of the sum.
BITTERN_HD std::uint8_t to_e4m3_in_range(float x) {
  const std::uint32_t u = float_bits(x);
  const std::uint32_t code = fp8_detail::nearest_code<fp8_detail::E4M3>(u & 0x7fffffffu);
  return static_cast<std::uint8_t>((code << 24 | (u & 0x80000000u)) >> 24);
}

/// One of the two neighbouring E4M3 values, E = x; a value of the format never moves. Of the uniform word `random`, a
/// normal value uses the low 20 bits and is exact; one below 2^-6 uses all 32 and is exact from 2^-18 up, below within
/// 2^-32 of a quantum. Values beyond +-448 are clamped first, and so biased towards zero.
BITTERN_HD std::uint8_t to_e4m3_stochastic(float x, std::uint32_t random) {
  return fp8_detail::stochastic<fp8_detail::E4M3>(x, random);
}

BITTERN_HD float e4m3_to_float(std::uint8_t code) {
  const float value = fp8_detail::finite_value<fp8_detail::E4M3>(code);
  return (code & 0x7fu) == 0x7fu ? bits_float(0x7fc00000u) : value;
}

/// Nearest E5M2, ties to even. Infinity saturates to 57344 too: 0x7c is never made.
BITTERN_HD std::uint8_t to_e5m2(float x) {
  return fp8_detail::nearest<fp8_detail::E5M2>(x);
}

/// As to_e4m3_stochastic: the low 21 bits for a normal value; below 2^-14 all 32, exact from 2^-25 up.
BITTERN_HD std::uint8_t to_e5m2_stochastic(float x, std::uint32_t random) {
  return fp8_detail::stochastic<fp8_detail::E5M2>(x, random);
}

BITTERN_HD float e5m2_to_float(std::uint8_t code) {
  const float value = fp8_detail::finite_value<fp8_detail::E5M2>(code);
  const std::uint32_t fraction = code & 3u, sign = (code & 0x80u) << 24;
  const float special = bits_float(sign | (fraction == 0 ? 0x7f800000u : 0x7fc00000u));
  return (code & 0x7fu) >= 0x7cu ? special : value;
}

}  // namespace bittern
