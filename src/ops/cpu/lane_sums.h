// lane_sums: a sum and a maximum over a row in 32 lanes, added up in a fixed order: the same bits on every
// instruction set. Inside simd().
#pragma once

#include <algorithm>
#include <cstdint>

namespace bittern::cpu {

namespace lanes_detail {
inline constexpr std::int64_t lanes = 32;  // a loop of 16 or less g++ unrolls before it can vectorise it

/// lane[i % 32] = op(lane[i % 32], term(i)); then the lanes in order.
template <typename T, class Term, class Op>
inline T fold(std::int64_t n, T none, Term term, Op op) {
  alignas(64) T lane[lanes];
  for (std::int64_t k = 0; k < lanes; ++k) lane[k] = none;
  const std::int64_t whole = n / lanes * lanes;
  for (std::int64_t i = 0; i < whole; i += lanes) {
#pragma omp simd
    for (std::int64_t k = 0; k < lanes; ++k) lane[k] = op(lane[k], term(i + k));
  }
  for (std::int64_t k = 0; k < n - whole; ++k) lane[k] = op(lane[k], term(whole + k));
  for (std::int64_t width = lanes / 2; width > 0; width /= 2)
    for (std::int64_t k = 0; k < width; ++k) lane[k] = op(lane[k], lane[k + width]);
  return lane[0];
}

}  // namespace lanes_detail

template <class Term>
inline float lane_sum(std::int64_t n, Term term) {
  return lanes_detail::fold(n, 0.0f, term, [](float a, float b) { return a + b; });
}
/// Of words, as bits of magnitudes are (quant/scales.h).
template <class Term>
inline std::uint32_t lane_max(std::int64_t n, Term term) {
  return lanes_detail::fold(n, std::uint32_t{0}, term, [](std::uint32_t a, std::uint32_t b) { return a > b ? a : b; });
}

}  // namespace bittern::cpu
