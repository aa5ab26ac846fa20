// vector_math: exp, log and sigmoid as plain inline code that the compiler vectorises inside a loop (simd.h).
//
// Only additions, multiplications and integer operations, no fma: every instruction set makes the same bits, and none
// is slow. Polynomials are minimax fits of our own (Remez's exchange, relative error). exp: within 2 ulp of the true
// value (subnormal results: within their last bit); exp(-inf) = 0, exp(large) = inf. log: within 2 ulp; log(0) = -inf,
// log(negative) = NaN. NaN gives NaN everywhere.
#pragma once

#include <cstdint>
#include <limits>

#include "bittern/quant/bf16.h"

namespace bittern::cpu {

// ln 2 in two floats: the first has 9 bits, so its product with any exponent is exact.
inline constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;

/// e^x = 2^k e^r with k = round(x / ln 2), |r| <= ln 2 / 2, e^r = 1 + r + r^2 p(r).
inline float exp_f32(float x) {
  const float below = x > 89.0f ? 89.0f : x;          // e^89 is infinite already; NaN passes
  const float v = below < -104.0f ? -104.0f : below;  // e^-104 is zero already
  constexpr float round_to_int = 12582912.0f;         // 1.5 * 2^23: adding it leaves the integer in the low bits
  const float shifted = v * 1.44269504f + round_to_int;
  const float k = shifted - round_to_int;
  const float r = (v - k * ln2_high) - k * ln2_low;
  float p = 0.00138145406f;
  p = p * r + 0.00836874545f;
  p = p * r + 0.0416683890f;
  p = p * r + 0.166665211f;
  p = p * r + 0.499999940f;
  const float e = (p * (r * r) + r) + 1.0f;
  // 2^k in two factors, because k may lie outside the exponents of normal floats.
  const auto exponent = static_cast<std::int32_t>(float_bits(shifted) - float_bits(round_to_int));
  const std::int32_t half = exponent >> 1;
  const float scale1 = bits_float(static_cast<std::uint32_t>(half + 127) << 23);
  const float scale2 = bits_float(static_cast<std::uint32_t>(exponent - half + 127) << 23);
  return e * scale1 * scale2;
}

/// 1 / (1 + e^-x), within 4 ulp; 0 below -88, where e^-x is infinite.
inline float sigmoid_f32(float x) {
  return 1.0f / (1.0f + exp_f32(-x));
}

/// log x = k ln 2 + log m with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh(s), s = (m-1)/(m+1), by its series in s^2.
inline float log_f32(float x) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const bool subnormal = x < 1.17549435e-38f;
  const float normal = subnormal ? x * 8388608.0f : x;  // * 2^23
  const std::uint32_t bits = float_bits(normal);
  const std::uint32_t from_sqrt_half = bits - 0x3f3504f3u;  // 0x3f3504f3: sqrt(1/2)
  const auto exponent = static_cast<std::int32_t>(from_sqrt_half) >> 23;
  const float m = bits_float((from_sqrt_half & 0x007fffffu) + 0x3f3504f3u);
  const float k = static_cast<float>(exponent) - (subnormal ? 23.0f : 0.0f);
  const float f = m - 1.0f;
  const float s = f / (2.0f + f);
  const float z = s * s;
  const float series = z * (0.666666667f + z * (0.4f + z * (0.285714286f + z * 0.222222222f)));
  // 2 s (1 + z/3 + ...) = f - s (f - series): the large term f is exact.
  const float log_m = f - s * (f - series);
  const float result = k * ln2_high + (log_m + k * ln2_low);
  return x > 0.0f ? (x < infinity ? result : infinity)
                  : (x == 0.0f ? -infinity : std::numeric_limits<float>::quiet_NaN());
}

/// The sum of f(i) over i in [0, n), in four running sums so that additions do not wait for one another. f may also
/// store at index i, and there alone.
template <class F>
inline float sum_over(std::int64_t n, F f) {
  const std::int64_t quarter = n / 4;
  float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
  for (std::int64_t i = 0; i < quarter; ++i) {
    s0 += f(i);
    s1 += f(i + quarter);
    s2 += f(i + 2 * quarter);
    s3 += f(i + 3 * quarter);
  }
  for (std::int64_t i = 4 * quarter; i < n; ++i) s0 += f(i);
  return (s0 + s1) + (s2 + s3);
}

}  // namespace bittern::cpu
