// quantize: activations as codes, row by row (a token each), nearest even.
//   x (N,C) f32|bf16   q (N,C) fp8_e4m3: scale = absmax / 448, 1 where absmax is 0
//                              i8:       scale = max(absmax, 1e-5) / 127              (BitNet b1.58, section 2)
//   code = nearest(x * (1 / scale)), which cannot leave the range. A row with an infinity or a NaN gets the scale NaN,
//   so that all of its products show it and no other row's do.
//   overwrites q and its scales. Reads x, writes N C bytes: a row is read from memory once and from a cache again.
// Backward is the identity (straight-through).
#include "bittern/profile.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/scales.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/checked.h"
#include "ops/cpu/row_parts.h"

namespace bittern::cpu {
namespace {

constexpr float largest_e4m3 = 448.0f, largest_i8 = 127.0f, smallest_absmax_i8 = 1e-5f;

/// The largest magnitude, by its bits, so that a NaN is not passed over.
template <typename T>
inline float absmax(const T* x, std::int64_t C, float at_least) {
  std::uint32_t largest = magnitude_bits(at_least);
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < C; ++i) {
    const std::uint32_t bits = magnitude_bits(to_float(x[i]));
    largest = bits > largest ? bits : largest;
  }
  return bits_float(largest);
}

template <typename T>
inline float quantize_e4m3(std::uint8_t* q, const T* x, std::int64_t C) {
  const float scale = scale_from_absmax(absmax(x, C, 0.0f), largest_e4m3), inverse = inverse_scale(scale);
#pragma omp simd
  for (std::int64_t i = 0; i < C; ++i) q[i] = to_e4m3(to_float(x[i]) * inverse);
  return scale;
}

template <typename T>
inline float quantize_i8(std::uint8_t* q, const T* x, std::int64_t C) {
  const float scale = scale_from_absmax(absmax(x, C, smallest_absmax_i8), largest_i8), inverse = inverse_scale(scale);
#pragma omp simd
  for (std::int64_t i = 0; i < C; ++i)
    q[i] = static_cast<std::uint8_t>(round_nearest_even_to_grid(to_float(x[i]) * inverse, -128, 127));
  return scale;
}

template <typename T>
void launch(const Tensor& q, const Tensor& x) {
  const std::int64_t N = x.rows(), C = x.cols();
  for_row_ranges(N, even_parts(N, C), [&](std::int64_t first, std::int64_t last) {
    simd([&] {
      for (std::int64_t n = first; n < last; ++n) {
        auto* to = static_cast<std::uint8_t*>(q.row(n));
        const T* from = row_of<T>(x, n);
        q.scales[n] = q.dtype == DType::e4m3 ? quantize_e4m3(to, from, C) : quantize_i8(to, from, C);
      }
    });
  });
}

}  // namespace

void CpuBackend::quantize(const Tensor& q, const Tensor& x) {
  constexpr std::string_view op = "quantize";
  Checked{op, "x", x}.act().matrix(x.rows(), x.cols());
  Checked{op, "q", q}.readable().matrix(x.rows(), x.cols());
  check(q.dtype == DType::e4m3 || q.dtype == DType::i8, "{}: q must be fp8_e4m3 or i8, got {}", op, name(q.dtype));
  const OpScope scope(op, bytes_of(x) + bytes_of(q));
  with_act(x.dtype, [&](auto t) { launch<decltype(t)>(q, x); });
}

}  // namespace bittern::cpu
