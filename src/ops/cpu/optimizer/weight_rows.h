// weight_rows: rows of a stored weight (quant/weight_codec.h) to fp32 and back. What decodes a weight anywhere on the
// CPU decodes it by the expression here: level * scale, one multiplication.
//   NaN and infinity: f32 and bf16 keep them; a scale made from them is NaN, and so is all that it decodes; with a
//   scale that is kept, E4M3 keeps a NaN, integers turn it into the lowest level, and infinity becomes an end of the
//   grid.
#pragma once

#include <cstdint>

#include "bittern/quant/weight_codec.h"
#include "ops/cpu/codes/code_rows.h"
#include "ops/cpu/optimizer/random_words.h"

namespace bittern::cpu {

/// out (count) = the values of the piece.
void decode_weight_row(const Tensor& weight, const RowPiece& piece, float* out);

/// weight's piece = values (count), by the row's scale as it stands. `first_element` addresses the random numbers of
/// the piece.
void encode_weight_row(const Tensor& weight, const WeightCodec& codec, const RowPiece& piece, const float* values,
                       const RandomStream& random, std::uint64_t first_element);

/// The ends of the grid; times a row's scale, the largest and the smallest value that the row can hold.
float highest_level(const WeightCodec& codec);
float lowest_level(const WeightCodec& codec);

/// The largest magnitude (absmax, a NaN above all) or the sum of magnitudes (absmean) of a row, as codec.scale_from
/// asks.
float scale_statistic(const WeightCodec& codec, const float* values, std::int64_t count);

/// Those of several rows become one, in the order of rows.
double join_statistics(const WeightCodec& codec, double a, float b);

/// The scale from the statistic of `count` values.
float scale_from_statistic(const WeightCodec& codec, double statistic, std::int64_t count);

/// Codes that are not what they were, and codes at an end of the grid. before: unpacked codes.
struct CodeCounts {
  std::int64_t changed, saturated;
};
CodeCounts count_codes(const Tensor& weight, const WeightCodec& codec, const RowPiece& piece,
                       const std::uint8_t* before);

}  // namespace bittern::cpu
