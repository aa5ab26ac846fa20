// log_quantizer: the second moment in two to four bits (SOLO, Xu et al. 2025, prop. 3.4, 3.5). A block is stored as its
// largest value delta, a base alpha and codes 0 .. K, K = 2^bits - 1; level k is alpha^k * delta, so code 0 is the
// largest.
// alpha = (x_p / delta)^(1/K), x_p the p-quantile of the block: the K-th level is x_p, and what is smaller is clipped
// up to it. No level is zero, so no second moment becomes one.
//
// e = log2(x / delta) / log2(alpha), a real number, is where x lies among the codes. Rounding:
//   nearest     of e, ties to even
//   stochastic  of e (the paper's): unbiased for log x, so biased upwards for x, by up to 9 % at alpha = 0.44
// Both are biased upwards below x_p.
//
// Where the published code divides by zero, this is what happens: an all-zero block has delta = 0 and decodes to 0. If
// x_p is 0, x_p / delta counts as 1e-12, so zeros decode to 1e-12 delta and the rest of the block keeps its meaning. If
// all are equal, alpha = 1 and every code decodes to delta.
#pragma once

#include <cstdint>

#include "bittern/host_device.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/polynomial.h"
#include "bittern/quant/scales.h"

namespace bittern {

namespace quantile_detail {

/// Where the p-quantile of n elements lies: at the element of `rank`, `weight` of the way to the next.
struct Place {
  std::int32_t rank;
  float weight;
};
BITTERN_HD Place place(std::int32_t n, float p) {
  const float r = p * static_cast<float>(n - 1);
  const std::int32_t rank = static_cast<std::int32_t>(r);
  return Place{rank, r - static_cast<float>(rank)};
}

BITTERN_HD float between(float a, float b, float weight) {
  return weight < 0.5f ? a + weight * (b - a) : b - (b - a) * (1.0f - weight);
}

/// The middle of two bounds, whatever their distance.
BITTERN_HD std::int32_t middle(std::int32_t low, std::int32_t high) {
  const std::uint32_t distance = static_cast<std::uint32_t>(high) - static_cast<std::uint32_t>(low);
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(low) + distance / 2);
}

}  // namespace quantile_detail

/// The p-quantile of x (n), all >= 0, by torch.quantile's linear interpolation: r = p (n - 1), between the elements of
/// ranks floor(r) and floor(r) + 1. 0 <= p <= 1, n >= 1.
///
/// Floats that are not negative are ordered as their bits are, so a bound with these two elements on either side is
/// found by halving the range of bits and counting what lies below: half a dozen passes over a block that vectorise
/// take an eighth of the time of std::nth_element, whose branches cannot be foreseen (bench/quant).
BITTERN_HD float quantile(const float* x, std::int32_t n, float p) {
  const quantile_detail::Place place = quantile_detail::place(n, p);
  std::int32_t low = static_cast<std::int32_t>(float_bits(x[0])), largest = low;
  for (std::int32_t i = 0; i < n; ++i) {
    const std::int32_t u = static_cast<std::int32_t>(float_bits(x[i]));
    low = u < low ? u : low;
    largest = u > largest ? u : largest;
  }
  // At most `rank` elements are below `low`, more than rank + 1 below `high`. Where the two elements are equal, no bound
  // lies between them, and `low` becomes their value.
  std::int32_t high = static_cast<std::int32_t>(static_cast<std::uint32_t>(largest) + 1u);
  std::int32_t a = place.rank + 1 < n ? low : largest, b = a;
  while (place.rank + 1 < n && static_cast<std::uint32_t>(high) - static_cast<std::uint32_t>(low) > 1u) {
    const std::int32_t bound = quantile_detail::middle(low, high);
    std::int32_t below = 0;
    for (std::int32_t i = 0; i < n; ++i)
      below += static_cast<std::int32_t>(static_cast<std::int32_t>(float_bits(x[i])) < bound);
    if (below == place.rank + 1) {
      b = largest;
      for (std::int32_t i = 0; i < n; ++i) {
        const std::int32_t u = static_cast<std::int32_t>(float_bits(x[i]));
        const std::int32_t lower = u < bound ? u : low, upper = u < bound ? largest : u;
        a = lower > a ? lower : a;
        b = upper < b ? upper : b;
      }
      break;
    }
    (below <= place.rank ? low : high) = bound;
    a = b = low;
  }
  return quantile_detail::between(bits_float(static_cast<std::uint32_t>(a)), bits_float(static_cast<std::uint32_t>(b)),
                                  place.weight);
}

/// What is stored of a block beside its codes.
struct LogBlock {
  float delta, alpha;
};

BITTERN_HD LogBlock log_block(float largest, float quantile_value, int bits) {
  const float delta = block_scale(largest), ratio = quantile_value * inverse_scale(delta);
  const float above = ratio > 1e-12f ? ratio : 1e-12f, clamped = above < 1.0f ? above : 1.0f;
  const float alpha = exp2_f32(log2_f32(clamped) / static_cast<float>((1 << bits) - 1));
  return LogBlock{delta, delta == 0.0f ? 1.0f : alpha};
}

/// What encoding needs of a block, computed once for all its elements.
struct LogEncoder {
  float inverse_delta, inverse_log2_alpha;  // the latter 0 where alpha is 1: every code is then 0
  std::int32_t last;                        // K
};

BITTERN_HD LogEncoder log_encoder(LogBlock block, int bits) {
  const float log2_alpha = log2_f32(block.alpha);
  return LogEncoder{inverse_scale(block.delta), log2_alpha < 0.0f ? 1.0f / log2_alpha : 0.0f, (1 << bits) - 1};
}

/// Where x lies among the codes: 0 for delta, K for x_p, above K for what is smaller.
BITTERN_HD float log_position(float x, LogEncoder encoder) {
  return log2_f32(x * encoder.inverse_delta) * encoder.inverse_log2_alpha;
}

BITTERN_HD std::int32_t log_nearest(float x, LogEncoder encoder) {
  return round_nearest_even_to_grid(log_position(x, encoder), 0, encoder.last);
}

/// The paper's round(e + xi), xi uniform in [-1/2, 1/2): e's upper neighbour with probability e - floor(e). Uses all 32
/// bits of `random`. The position of a level is computed within 1e-6 of its code: with about that probability it moves.
BITTERN_HD std::int32_t log_stochastic(float x, LogEncoder encoder, std::uint32_t random) {
  return round_stochastic_to_grid(log_position(x, encoder), 0, encoder.last, random);
}

/// level[k] = alpha^k, k = 0 .. K: what a code decodes to, over delta.
BITTERN_HD void log_levels(float alpha, int bits, float* level) {
  level[0] = 1.0f;
  for (int k = 1; k < 1 << bits; ++k) level[k] = level[k - 1] * alpha;
}

BITTERN_HD float log_decode(std::int32_t code, const float* level, float delta) {
  return level[code] * delta;
}

}  // namespace bittern
