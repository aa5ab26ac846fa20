// vector_math: exp, log, sigmoid and sums as plain inline code that the compiler vectorises inside simd() (simd.h).
//
// exp and sigmoid come in two forms: fused, with multiply-add instructions, and plain, for a target without them; simd
// tells its body which. Each is within 2.5 ulp (sigmoid: 4) of the true value wherever that is a normal float, the same
// bits on every instruction set of its form. The polynomials are minimax fits of our own (Remez's exchange, relative
// error). NaN gives NaN everywhere. Sums go over a fixed number of lanes, so they too have the same bits for every
// width of vectors.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "bittern/quant/bf16.h"

namespace bittern::cpu {

// ln 2 in two floats: the first has 9 bits, so its product with any exponent is exact.
inline constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
inline constexpr float log2_e = 1.44269502f, log2_e_low = 1.92596303e-8f;

/// a * b + c, rounded once if fused.
template <bool fused>
inline float multiply_add(float a, float b, float c) {
  if constexpr (fused)
    return std::fma(a, b, c);
  else
    return a * b + c;
}

/// e^x = 2^k 2^f with k = round(x log2 e), |f| <= 1/2. 0 below -87 (no subnormals), infinite above 88.4.
template <bool fused>
inline float exp_f32(float x) {
  // Adding 1.5 * 2^23 leaves k in the low bits. The least of integers rather than of floats: g++ makes branches of the
  // latter and blends of these. 2^128 is infinity, also in its exponent bits.
  constexpr float round_to_int = 12582912.0f;
  constexpr std::int32_t bits_of_zero = 0x4b400000, largest = bits_of_zero + 128;
  const auto bits = static_cast<std::int32_t>(float_bits(multiply_add<fused>(x, log2_e, round_to_int)));
  const auto clamped = static_cast<std::uint32_t>(bits < largest ? bits : largest);
  const float k = bits_float(clamped) - round_to_int;
  float f;
  if constexpr (fused)
    f = std::fma(x, log2_e_low, std::fma(x, log2_e, -k));
  else
    f = ((x - k * ln2_high) - k * ln2_low) * log2_e;
  float p = 0.00132646458f;
  p = multiply_add<fused>(p, f, 0.00967157632f);
  p = multiply_add<fused>(p, f, 0.0555073470f);
  p = multiply_add<fused>(p, f, 0.240222409f);
  p = multiply_add<fused>(p, f, 0.693147004f);
  p = multiply_add<fused>(p, f, 1.0f);
  const float e = p * bits_float((clamped << 23) + 0x3f800000u);  // the shift leaves k alone, as exponent
  return x < -87.0f ? 0.0f : e;
}

/// 1 / (1 + e^-x), from e^-|x|, which is never large. (Two steps of Newton instead of the division: 1.3 times slower,
/// Zen 4.)
template <bool fused>
inline float sigmoid_f32(float x) {
  const float e = exp_f32<fused>(-std::fabs(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
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

/// Asks for n elements, wherever they are, to come into the second-level cache. (Into the first, fewer can be on their
/// way at a time: 0.7 times as fast, Zen 4.)
template <typename T>
inline void prefetch(const T* x, std::int64_t n) {
  constexpr std::int64_t line = 64 / sizeof(T);
  for (std::int64_t i = 0; i < n; i += line) __builtin_prefetch(x + i, 0, 2);
}

/// combine(lane, f(i)) over i in [0, n), lane i mod 32 each from `start`; then the lanes are combined pairwise. f may
/// also store at index i, and there alone.
template <class F, class Combine>
inline float over_lanes(std::int64_t n, float start, F f, Combine combine) {
  constexpr std::int64_t width = 32;
  float lanes[width];
  for (float& lane : lanes) lane = start;
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
#pragma omp simd
    for (std::int64_t l = 0; l < width; ++l) lanes[l] = combine(lanes[l], f(i + l));
  }
  if (i < n) {
#pragma omp simd
    for (std::int64_t l = 0; l < width; ++l)
      if (i + l < n) lanes[l] = combine(lanes[l], f(i + l));
  }
  for (std::int64_t half = width / 2; half > 0; half /= 2) {
#pragma omp simd
    for (std::int64_t l = 0; l < half; ++l) lanes[l] = combine(lanes[l], lanes[l + half]);
  }
  return lanes[0];
}

template <class F>
inline float sum_over(std::int64_t n, F f) {
  return over_lanes(n, 0.0f, f, [](float a, float b) { return a + b; });
}

/// The largest f(i); NaN is passed over.
template <class F>
inline float max_over(std::int64_t n, float start, F f) {
  return over_lanes(n, start, f, [](float a, float b) { return b > a ? b : a; });
}

}  // namespace bittern::cpu
