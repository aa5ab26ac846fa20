// stochastic: decides with one uniform 32-bit word whether an event of a given probability happens.
//
// The probability becomes a 32-bit integer, and the word is compared with it. So all 32 bits count. A weight may change
// with a probability of 1e-7. A uniform float has 24 bits, which is steps of 6e-8: it would be wrong by half there.
#pragma once

#include <cstdint>

#include "bittern/host_device.h"
#include "bittern/quant/bf16.h"

namespace bittern {

namespace chance_detail {

inline constexpr std::int32_t largest_below_one = 0x3f7fffff;  // the bits of the largest float below 1
inline constexpr float words = 0x1p32f;                        // how many 32-bit words there are

}  // namespace chance_detail

/// True if random < floor(p * 2^32), so with probability p for a uniform `random`. A p below 0 counts as 0. A p of 1 or
/// more counts as the largest float below 1.
BITTERN_HD bool chance(float p, std::uint32_t random) {
  // The code bounds p by its bits, as an integer: floats of at least 0 are ordered as their bits are. If it compared
  // floats, g++ 12 could make a branch of it, and loops around it would not be vectorised. g++ 12 also makes a branch
  // where both choices are named variables, because it then chooses between two addresses. The `+ 0` makes a value.
  const std::int32_t bits = static_cast<std::int32_t>(float_bits(p)), positive = bits > 0 ? bits : 0;
  const std::int32_t bounded =
      positive < chance_detail::largest_below_one ? positive : chance_detail::largest_below_one + 0;
  return random < static_cast<std::uint32_t>(bits_float(static_cast<std::uint32_t>(bounded)) * chance_detail::words);
}

}  // namespace bittern
