// quantize_rows: one row of activations as codes. Inside simd(). The definition is at the top of quantize.cpp.
//
// An op whose output (a norm's, glu's) only linears read may be given codes for it. It then makes each row in fp32,
// in a buffer of its thread that stays in the cache, and quantizes that: the row never goes to memory unquantized.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/scales.h"
#include "bittern/tensor.h"
#include "ops/cpu/machine/elements.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/multiples.h"
#include "ops/cpu/machine/parallel.h"

namespace bittern::cpu {

inline constexpr float largest_i8 = 127.0f, smallest_absmax_i8 = 1e-5f;

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

/// Row r of q, codes with scales = x (as long as the row).
template <typename T>
inline void quantize_row(const Tensor& q, std::int64_t r, const T* x) {
  auto* to = static_cast<std::uint8_t*>(q.row(r));
  q.scales[r] = q.dtype == DType::e4m3 ? quantize_e4m3(to, x, q.cols()) : quantize_i8(to, x, q.cols());
}

/// Floats from one thread's buffer to the next one's.
inline std::int64_t row_buffer_stride(std::int64_t cols) {
  return round_up(cols, 16);
}

/// Of the buffers of all threads, where the output is codes.
inline std::int64_t row_buffer_bytes(const Tensor& out) {
  return is_quantized(out.dtype) ? thread_count() * row_buffer_stride(out.cols()) * size_of(DType::f32) : 0;
}

/// The rows of an op's output: of O, or codes by way of `buffers`, a row of floats for each thread.
template <typename O>
struct OutputRows {
  const Tensor& out;
  float* buffers;

  /// Where row r shall be written, and, once it was, that it is complete.
  O* begin(std::int64_t r, int worker) const {
    if constexpr (std::is_same_v<O, float>)
      if (is_quantized(out.dtype)) return buffer(worker);
    return row_of<O>(out, r);
  }
  void end(std::int64_t r, int worker) const {
    if constexpr (std::is_same_v<O, float>)
      if (is_quantized(out.dtype)) quantize_row(out, r, buffer(worker));
  }
  float* buffer(int worker) const { return buffers + worker * row_buffer_stride(out.cols()); }
};

/// f(OutputRows<T>) for the T that an op computes the rows of `out` in: its element type, or float for codes.
template <class F>
void with_output(const Tensor& out, void* buffers, F&& f) {
  with_act(is_quantized(out.dtype) ? DType::f32 : out.dtype, [&](auto t) {
    f(OutputRows<decltype(t)>{out, static_cast<float*>(buffers)});
  });
}

}  // namespace bittern::cpu
