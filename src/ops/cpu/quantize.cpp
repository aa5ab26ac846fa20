// quantize: activations as codes, row by row (a token each), nearest even.
//   x (N,C) f32|bf16   q (N,C) fp8_e4m3: scale = absmax / 448, 1 where absmax is 0
//                              i8:       scale = max(absmax, 1e-5) / 127              (BitNet b1.58, section 2)
//   code = nearest(x * (1 / scale)), which cannot leave the range. A row with an infinity or a NaN gets the scale NaN,
//   so that all of its products show it and no other row's do; its codes are those of a NaN.
//   overwrites q and its scales. Reads x, writes N C bytes: a row is read from memory once and from a cache again.
// Backward is the identity (straight-through).
#include <algorithm>
#include <cstdint>

#include "bittern/profile.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/scales.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/checked.h"
#include "ops/cpu/lane_sums.h"
#include "ops/cpu/row_parts.h"

namespace bittern::cpu {
namespace {

constexpr float largest_e4m3 = 448.0f, largest_i8 = 127.0f, smallest_absmax_i8 = 1e-5f;

/// The largest magnitude, as bits, so that a NaN is not passed over.
inline std::uint32_t absmax_bits(const float* x, std::int64_t C) {
  return lane_max(C, [=](std::int64_t i) { return magnitude_bits(x[i]); });
}
/// Of integers of sixteen bits: twice as many in a vector.
inline std::uint32_t absmax_bits(const bf16* x, std::int64_t C) {
  std::uint16_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < C; ++i) {
    const auto bits = static_cast<std::uint16_t>(x[i].bits & 0x7fffu);
    largest = bits > largest ? bits : largest;
  }
  return std::uint32_t{largest} << 16;
}

/// q (C) = encode(x / scale), or encode(NaN) where the scale is: encode need not know what to do with a NaN.
template <typename T, class Encode>
inline void encode_row(std::uint8_t* q, const T* x, std::int64_t C, float scale, std::uint8_t of_nan, Encode encode) {
  if (scale != scale) {
    std::fill_n(q, C, of_nan);
    return;
  }
  const float inverse = inverse_scale(scale);
#pragma omp simd
  for (std::int64_t i = 0; i < C; ++i) q[i] = encode(to_float(x[i]) * inverse);
}

template <typename T>
inline float quantize_e4m3(std::uint8_t* q, const T* x, std::int64_t C) {
  const float scale = scale_from_absmax(bits_float(absmax_bits(x, C)), largest_e4m3);
  encode_row(q, x, C, scale, 0x7f, [](float y) { return to_e4m3_in_range(y); });
  return scale;
}

template <typename T>
inline float quantize_i8(std::uint8_t* q, const T* x, std::int64_t C) {
  const std::uint32_t absmax = std::max(absmax_bits(x, C), magnitude_bits(smallest_absmax_i8));
  const float scale = scale_from_absmax(bits_float(absmax), largest_i8);
  encode_row(q, x, C, scale, 0x80, [](float y) { return to_i8_in_range(y); });
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
