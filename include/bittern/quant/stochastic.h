// stochastic: an event that happens with a given probability, decided by one uniform 32-bit word.
//
// The probability is compared as an integer, with all 32 bits: a weight may flip with a probability of 1e-7, which a
// uniform float of 24 bits (quantum 6e-8) would get wrong by half.
#pragma once

#include <cstdint>

#include "bittern/host_device.h"
#include "bittern/quant/bf16.h"

namespace bittern {

namespace chance_detail {

inline constexpr std::int32_t largest_below_one = 0x3f7fffff;  // a float's bits
inline constexpr float words = 0x1p32f;

}  // namespace chance_detail

/// True for floor(p * 2^32) of the 2^32 words, the lowest ones. p below 0 counts as 0, from 1 up as the largest float
/// below 1. Uses all 32 bits of `random`.
BITTERN_HD bool chance(float p, std::uint32_t random) {
  // Bounded as an integer, which orders floats that are not negative: of a choice of floats g++ 12 may make a branch. So
  // it does of a choice of two named numbers, which is a choice of addresses: hence the zero.
  const std::int32_t bits = static_cast<std::int32_t>(float_bits(p)), positive = bits > 0 ? bits : 0;
  const std::int32_t bounded =
      positive < chance_detail::largest_below_one ? positive : chance_detail::largest_below_one + 0;
  return random < static_cast<std::uint32_t>(bits_float(static_cast<std::uint32_t>(bounded)) * chance_detail::words);
}

}  // namespace bittern
