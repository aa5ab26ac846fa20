// stochastic: an event that happens with a given probability, decided by one uniform 32-bit word.
//
// The probability is compared as an integer, with all 32 bits: a weight may flip with a probability of 1e-7, which a
// uniform float of 24 bits (quantum 6e-8) would get wrong by half.
#pragma once

#include <cstdint>

#include "bittern/host_device.h"

namespace bittern {

/// True for floor(p * 2^32) of the 2^32 words, the lowest ones; always from p = 1 up. p is not negative. Uses all 32
/// bits of `random`.
BITTERN_HD bool chance(float p, std::uint32_t random) {
  constexpr float largest = 0x1.fffffep-1f;  // below 1
  const std::uint32_t bound = static_cast<std::uint32_t>((p < largest ? p : largest) * 0x1p32f);
  return (p >= 1.0f) | (random < bound);
}

}  // namespace bittern
