// lane_sums: a sum over a row in 32 lanes, in float or double, added up in a fixed order, and a maximum: the same bits on every instruction
// set. Inside simd().
#pragma once

#include <cstdint>

namespace bittern::cpu {

/// lane[i % 32] += term(i); then the lanes in order.
template <class Sum = float, class Term>
inline Sum lane_sum(std::int64_t n, Term term) {
  constexpr std::int64_t lanes = 32;  // a loop of 16 or less g++ unrolls before it can vectorise it
  alignas(64) Sum lane[lanes] = {};
  const std::int64_t whole = n / lanes * lanes;
  for (std::int64_t i = 0; i < whole; i += lanes) {
#pragma omp simd
    for (std::int64_t k = 0; k < lanes; ++k) lane[k] = lane[k] + term(i + k);
  }
  for (std::int64_t k = 0; k < n - whole; ++k) lane[k] = lane[k] + term(whole + k);
  for (std::int64_t width = lanes / 2; width > 0; width /= 2)
    for (std::int64_t k = 0; k < width; ++k) lane[k] = lane[k] + lane[k + width];
  return lane[0];
}
/// The largest of words, as bits of magnitudes are (quant/scales.h): of integers, so in any order.
template <class Term>
inline std::uint32_t lane_max(std::int64_t n, Term term) {
  std::uint32_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t word = term(i);
    largest = word > largest ? word : largest;
  }
  return largest;
}

}  // namespace bittern::cpu
