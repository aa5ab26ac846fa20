// StateCodec: how a moment of the optimizer is stored between steps. One table names them all.
//
//   values      f32, bf16
//   fp8         E4M3 codes, one f32 scale per block (absmax / 448)
//   codebook    indices into a codebook (codebook.h), one f32 scale per block (absmax); stochastic rounding keeps the
//               mean of the value or, with keeps_inverse_root, the mean of what AdamW makes of it (inverse_root.h)
//   rank1       4-bit indices into the linear codebook; scale of an element = min(row maximum, column maximum)
//               (arXiv 2309.01507, section 4.2); tensors that are not matrices: blocks
//   factored    no codes: means of v's increments along rows and columns, v[i,j] = row[i] * column[j] / mean(row)
//               (Adafactor's, as in 4-bit Factor); tensors that are not matrices: blocks of linear4
//   row_mean    no codes: one v for each row, of the means of the row's squared gradients (Adam-mini, arXiv 2406.16793,
//               for output rows; of an embedding a row is a token); tensors that are not matrices: f32
//   logarithmic SOLO's unsigned levels scale * alpha^code, alpha per block from a quantile (arXiv 2505.00347)
//
// Blocks restart at every row of the tensor; the last one of a row may be short.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "bittern/dtype.h"
#include "bittern/quant/weight_codec.h"

namespace bittern {

enum class StateKind : std::uint8_t { values, fp8, codebook, rank1, factored, logarithmic, row_mean };

/// Codes in blocks of a row, each block with scales of its own.
constexpr bool has_blocks(StateKind kind) {
  return kind == StateKind::fp8 || kind == StateKind::codebook || kind == StateKind::logarithmic;
}
/// The kinds that are not means alone.
constexpr bool has_codes(StateKind kind) {
  return kind != StateKind::factored && kind != StateKind::row_mean;
}
/// A number for each row and each column of the whole tensor: a matrix.
constexpr bool has_columns(StateKind kind) {
  return kind == StateKind::rank1 || kind == StateKind::factored;
}

/// A number for each row of the whole tensor: a matrix.
constexpr bool has_rows(StateKind kind) {
  return has_columns(kind) || kind == StateKind::row_mean;
}

struct StateCodecInfo {
  std::string_view name;  ///< in configs
  StateKind kind;
  DType dtype;                                          ///< of the values or codes
  bool for_first_moment;                                ///< signed values
  bool for_second_moment;                               ///< values >= 0
  std::string_view signed_codebook, unsigned_codebook;  ///< names in codebook.h's table
  bool keeps_inverse_root = false;                      ///< of a second moment in a codebook of 4 bits or less
};

inline constexpr auto state_codec_table = std::to_array<StateCodecInfo>({
    {"f32", StateKind::values, DType::f32, true, true, "", ""},
    {"bf16", StateKind::values, DType::bf16, true, true, "", ""},
    {"fp8", StateKind::fp8, DType::e4m3, true, true, "", ""},
    {"dynamic8", StateKind::codebook, DType::u8, true, true, "dynamic8", "dynamic8_unsigned"},
    {"de4", StateKind::codebook, DType::u4, true, true, "de4", "de4_unsigned"},
    {"de3", StateKind::codebook, DType::u3, true, true, "de3", "de3_unsigned"},
    {"de2", StateKind::codebook, DType::u2, true, true, "de2", "de2_unsigned"},
    {"de4_no_zero", StateKind::codebook, DType::u4, false, true, "", "de4_unsigned_no_zero"},
    {"de3_no_zero", StateKind::codebook, DType::u3, false, true, "", "de3_unsigned_no_zero"},
    {"de2_no_zero", StateKind::codebook, DType::u2, false, true, "", "de2_unsigned_no_zero"},
    {"linear8", StateKind::codebook, DType::u8, true, true, "linear8_signed", "linear8"},
    {"linear4", StateKind::codebook, DType::u4, true, true, "linear4_signed", "linear4"},
    {"linear3", StateKind::codebook, DType::u3, true, true, "linear3_signed", "linear3"},
    {"linear2", StateKind::codebook, DType::u2, true, true, "linear2_signed", "linear2"},
    {"softsign8", StateKind::codebook, DType::u8, true, false, "softsign8", ""},
    {"sqrt8", StateKind::codebook, DType::u8, false, true, "", "sqrt8"},
    {"nf4", StateKind::codebook, DType::u4, true, false, "nf4", ""},
    {"zip_de4", StateKind::codebook, DType::u4, false, true, "", "de4_unsigned", true},
    {"rank1_linear4", StateKind::rank1, DType::u4, false, true, "", "linear4"},
    {"rank1_de4", StateKind::rank1, DType::u4, false, true, "", "de4_unsigned"},
    {"rank1_de4_no_zero", StateKind::rank1, DType::u4, false, true, "", "de4_unsigned_no_zero"},
    {"factored", StateKind::factored, DType::u4, false, true, "", "linear4"},
    {"row_mean", StateKind::row_mean, DType::f32, false, true, "", ""},
    {"log4", StateKind::logarithmic, DType::u4, false, true, "", ""},
    {"log3", StateKind::logarithmic, DType::u3, false, true, "", ""},
    {"log2", StateKind::logarithmic, DType::u2, false, true, "", ""},
});

constexpr const StateCodecInfo* find_state_codec(std::string_view name) {
  for (const StateCodecInfo& row : state_codec_table)
    if (row.name == name) return &row;
  return nullptr;
}

/// How a second moment is rounded where nobody says otherwise: these codecs are made for stochastic rounding.
constexpr Rounding implied_rounding(const StateCodecInfo& info) {
  return info.kind == StateKind::logarithmic || info.keeps_inverse_root ? Rounding::stochastic : Rounding::nearest;
}

/// How a tensor that is no matrix is stored where a matrix would be stored by `info`: kinds that need rows and columns
/// become blocks of their codebook, or, where they have none, f32.
constexpr const StateCodecInfo* codec_of_vectors(const StateCodecInfo* info) {
  if (info->kind == StateKind::row_mean) return &state_codec_table[0];
  if (!has_rows(info->kind)) return info;
  for (const StateCodecInfo& row : state_codec_table)
    if (row.kind == StateKind::codebook && row.unsigned_codebook == info->unsigned_codebook) return &row;
  return nullptr;
}

struct StateCodec {
  const StateCodecInfo* info = &state_codec_table[0];
  std::int64_t block = 128;  ///< elements that share a scale
  Rounding rounding = Rounding::nearest;
  float quantile = 0.1f;  ///< logarithmic: of the block, the value of the lowest level
};

}  // namespace bittern
