// inverse_root: stochastic rounding of a second moment that keeps the mean of what the update makes of it (ZIP-SR of
// "Rounding in Preconditioner Space", 2026):
//   h(v) = 1 / (sqrt(v) / sqrt(1 - b2^t) + eps)        a <= v <= b, neighbouring levels
//   P(a) = (h(v) - h(b)) / (h(a) - h(b))               so E h = h(v)
// A value near zero, whose h is large, hardly ever becomes zero: P(a = 0) is about eps h(v). So a codebook with a zero
// will do, where rounding that keeps the mean of v would make steps a million times too long.
#pragma once

#include <cmath>
#include <cstdint>

#include "bittern/host_device.h"
#include "bittern/quant/stochastic.h"

namespace bittern {

/// Of this update (optim/rule_constants.h).
struct InverseRoot {
  float inv_sqrt_correction2, eps;

  BITTERN_HD float operator()(float v) const { return 1.0f / (std::sqrt(v) * inv_sqrt_correction2 + eps); }
};

/// The code of one of the levels beside v, which are level[k] * scale; `inverse` is inverse_scale(scale). A level never
/// moves. Values beyond the ends take the end. Uses all 32 bits of the uniform word `random`.
template <int Bits>
BITTERN_HD std::int32_t inverse_root_code(float v, float inverse, float scale, const float* level, std::int32_t levels,
                                          const InverseRoot& h, std::uint32_t random) {
  static_assert(Bits <= 4, "with more levels, search");
  constexpr int end = (1 << Bits) - 1;
  const float x = v * inverse;
  std::int32_t lower = 0;
  float below = level[0], above = level[1];
  for (int k = 1; k <= end; ++k) {
    const bool reached = x >= level[k];
    lower += static_cast<std::int32_t>(reached);
    below = reached ? level[k] : below;
    above = reached ? level[k < end ? k + 1 : k] : above;
  }
  // By the chance of the lower level, which is small where its h is large. A high word stands for it, as in other
  // codecs.
  const float h_value = h(v), h_below = h(below * scale), h_above = h(above * scale);
  const bool down = chance((h_value - h_above) / (h_below - h_above), ~random) | (h_value >= h_below);
  const std::int32_t up = static_cast<std::int32_t>(!down);
  const std::int32_t last = levels - 1;
  return lower + up < last ? lower + up : last;  // at the last level below == above, and the quotient says nothing
}

}  // namespace bittern
