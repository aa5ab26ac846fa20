// What the tests of stochastic rounding share: the exact probability of an outcome, counted over random words rather
// than estimated from a sample.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace bittern {

/// How many of the 2^bits words make `happens(word)` true, for an event that is decided by comparing the word with a
/// bound: true below it, false from it on.
template <typename Event>
std::uint64_t count_words(Event happens, int bits = 32) {
  std::uint64_t low = 0, high = std::uint64_t{1} << bits;
  while (low < high) {
    const std::uint64_t middle = (low + high) / 2;
    if (happens(static_cast<std::uint32_t>(middle)))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

inline float next_up(float x) {
  return std::nextafter(x, std::numeric_limits<float>::infinity());
}
inline float next_down(float x) {
  return std::nextafter(x, -std::numeric_limits<float>::infinity());
}

}  // namespace bittern
