// Decodes rows of a stored weight to fp32, and encodes them.
#include "ops/cpu/optimizer/weight_rows.h"

#include <algorithm>

#include "bittern/quant/bf16.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/scales.h"
#include "ops/cpu/codes/e4m3_rows.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {
namespace {

using Decode = void (*)(const Tensor&, const RowPiece&, float*);
using Encode = void (*)(const Tensor&, const WeightCodec&, const RowPiece&, const float*, const RandomStream&,
                        std::uint64_t);

// ---- f32: the storage is the value.

void decode_f32(const Tensor& weight, const RowPiece& piece, float* out) {
  std::copy_n(values_at<float>(weight, piece), piece.count, out);
}
void encode_f32(const Tensor& weight, const WeightCodec&, const RowPiece& piece, const float* values,
                const RandomStream&, std::uint64_t) {
  float* const to = values_at<float>(weight, piece);
  if (to != values) std::copy_n(values, piece.count, to);
}

// ---- bf16

void decode_bf16(const Tensor& weight, const RowPiece& piece, float* out) {
  const bf16* const from = values_at<bf16>(weight, piece);
  const std::int64_t n = piece.count;
  simd([=] {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) out[i] = to_float(from[i]);
  });
}
void encode_bf16(const Tensor& weight, const WeightCodec& codec, const RowPiece& whole, const float* values,
                 const RandomStream& random, std::uint64_t first_element) {
  const bool stochastic = codec.rounding == Rounding::stochastic;
  simd([&] {
    for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
      bf16* const to = values_at<bf16>(weight, piece);
      const float* const x = values + at;
      const std::int64_t n = piece.count;
      if (stochastic) {
        RandomWords words;
        const std::uint32_t* const word = words.fill(random, first_element + static_cast<std::uint64_t>(at), n);
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) to[i] = to_bf16_stochastic(x[i], word[i]);
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) to[i] = to_bf16(x[i]);
      }
    });
  });
}

// ---- E4M3: code * scale of the row

void decode_e4m3(const Tensor& weight, const RowPiece& piece, float* out) {
  const auto* const codes = values_at<std::uint8_t>(weight, piece);
  const float scale = weight.scales[piece.row];
  const std::int64_t n = piece.count;
  simd([=] { decode_e4m3_run(codes, scale, n, out); });
}
void encode_e4m3(const Tensor& weight, const WeightCodec& codec, const RowPiece& whole, const float* values,
                 const RandomStream& random, std::uint64_t first_element) {
  const float inverse = inverse_scale(weight.scales[whole.row]);
  const bool stochastic = codec.rounding == Rounding::stochastic;
  simd([&] {
    for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
      RandomWords words;
      const std::uint32_t* word = nullptr;
      if (stochastic) word = words.fill(random, first_element + static_cast<std::uint64_t>(at), piece.count);
      encode_e4m3_run(values + at, inverse, word, piece.count, values_at<std::uint8_t>(weight, piece));
    });
  });
}

// ---- integers and ternary: level * scale of the row, in two's complement

void decode_integer(const Tensor& weight, const RowPiece& whole, float* out) {
  const float scale = weight.scales[whole.row];
  const int bits = bits_of(weight.dtype);
  simd([&] {
    for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
      alignas(64) std::uint8_t codes[chunk];
      unpack_row(weight, piece, codes);
      float* const to = out + at;
      const float s = scale;
      const int b = bits;
      const std::int64_t n = piece.count;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(level_of(codes[i], b)) * s;
    });
  });
}
void encode_integer(const Tensor& weight, const WeightCodec& codec, const RowPiece& whole, const float* values,
                    const RandomStream& random, std::uint64_t first_element) {
  const float inverse = inverse_scale(weight.scales[whole.row]);
  const bool stochastic = codec.rounding == Rounding::stochastic;
  const int lowest = codec.lowest(), highest = codec.highest(), bits = bits_of(weight.dtype);
  simd([&] {
    for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
      alignas(64) std::uint8_t codes[chunk];
      const float* const x = values + at;
      const float inv = inverse;
      const int lo = lowest, hi = highest, b = bits;
      const std::int64_t n = piece.count;
      if (stochastic) {
        RandomWords words;
        const std::uint32_t* const word = words.fill(random, first_element + static_cast<std::uint64_t>(at), n);
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i)
          codes[i] = code_of_level(round_stochastic_to_grid(x[i] * inv, lo, hi, word[i]), b);
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i)
          codes[i] = code_of_level(round_nearest_even_to_grid(x[i] * inv, lo, hi), b);
      }
      pack_row(weight, piece, codes);
    });
  });
}

struct WeightRows {
  Decode decode;
  Encode encode;
};

WeightRows rows_of(DType dtype) {
  if (dtype == DType::f32) return {decode_f32, encode_f32};
  if (dtype == DType::bf16) return {decode_bf16, encode_bf16};
  if (dtype == DType::e4m3) return {decode_e4m3, encode_e4m3};
  if (is_quantized(dtype)) return {decode_integer, encode_integer};
  throw failure("weights of {} have no codec on the CPU", name(dtype));
}

}  // namespace

float highest_level(const WeightCodec& codec) {
  return codec.storage == WeightStorage::fp8_e4m3 ? largest_e4m3 : static_cast<float>(codec.highest());
}
float lowest_level(const WeightCodec& codec) {
  return codec.storage == WeightStorage::fp8_e4m3 ? -largest_e4m3 : static_cast<float>(codec.lowest());
}

void decode_weight_row(const Tensor& weight, const RowPiece& piece, float* out) {
  rows_of(weight.dtype).decode(weight, piece, out);
}

void encode_weight_row(const Tensor& weight, const WeightCodec& codec, const RowPiece& piece, const float* values,
                       const RandomStream& random, std::uint64_t first_element) {
  rows_of(weight.dtype).encode(weight, codec, piece, values, random, first_element);
}

float scale_statistic(const WeightCodec& codec, const float* values, std::int64_t count) {
  float result = 0.0f;
  simd([&] {
    if (codec.scale_from == ScaleFrom::absmax)
      result = bits_float(lane_max(count, [=](std::int64_t i) { return magnitude_bits(values[i]); }));
    else
      result = lane_sum(count, [=](std::int64_t i) { return bits_float(magnitude_bits(values[i])); });
  });
  return result;
}

double join_statistics(const WeightCodec& codec, double a, float b) {
  if (codec.scale_from == ScaleFrom::absmean) return a + static_cast<double>(b);
  return b > a || b != b ? static_cast<double>(b) : a;  // a NaN stays: nothing is larger
}

float scale_from_statistic(const WeightCodec& codec, double statistic, std::int64_t count) {
  if (codec.scale_from == ScaleFrom::absmax)
    return scale_from_absmax(static_cast<float>(statistic), highest_level(codec));
  return scale_from_absmean(static_cast<float>(statistic / static_cast<double>(count)), highest_level(codec));
}

CodeCounts count_codes(const Tensor& weight, const WeightCodec& codec, const RowPiece& whole,
                       const std::uint8_t* before) {
  const int bits = bits_of(weight.dtype);
  const bool fp8 = weight.dtype == DType::e4m3;
  // An end: the largest magnitude of E4M3, which has two codes, or a level of the integer grid.
  const std::uint8_t high = fp8 ? 0x7e : code_of_level(codec.highest(), bits);
  const std::uint8_t low = fp8 ? 0xfe : code_of_level(codec.lowest(), bits);
  CodeCounts counts{};
  simd([&] {
    for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
      alignas(64) std::uint8_t now[chunk];
      unpack_row(weight, piece, now);
      const std::uint8_t* const old = before + at;
      const std::uint8_t hi = high, lo = low;
      std::int32_t changed = 0, saturated = 0;
      const std::int64_t n = piece.count;
#pragma omp simd reduction(+ : changed, saturated)
      for (std::int64_t i = 0; i < n; ++i) {
        changed += static_cast<std::int32_t>(now[i] != old[i]);
        saturated += static_cast<std::int32_t>((now[i] == hi) | (now[i] == lo));
      }
      counts.changed += changed;
      counts.saturated += saturated;
    });
  });
  return counts;
}

}  // namespace bittern::cpu
