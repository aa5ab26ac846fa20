// state_rows: decodes a piece of a stored moment (quant/state_codec.h) to fp32, and encodes fp32 to a piece. A table has
// the two functions of each StateKind. A new kind is two functions in a file of its own (state_KIND.cpp) and a line in
// state_rows.cpp.
//   Piece    columns [first, first + count) of a row. `first` is a multiple of the codec's block and of 8. The piece
//            ends where a block or the row ends.
//   Scale 0  decodes to 0, whatever the codes are. All memory begins with zeros, so moments begin at 0.
//   NaN      a block that holds a NaN gets the scale NaN, and all of the block decodes to NaN. With rank-1 scales
//            an element decodes to NaN if its row and its column both hold a NaN. bf16 and f32 keep a NaN where it is.
#pragma once

#include <cstdint>

#include "bittern/optim/optimizer_step.h"
#include "bittern/quant/codebook.h"
#include "bittern/quant/inverse_root.h"
#include "ops/cpu/codes/code_rows.h"
#include "ops/cpu/optimizer/random_words.h"

namespace bittern::cpu {

/// A stored moment, and what a step needs besides to decode and encode it.
struct Moment {
  const StoredMoment* stored = nullptr;
  const Codebook* book = nullptr;  ///< kinds codebook and rank1: the levels of the codes
  RandomStream random = {};
  const float* new_column = nullptr;  ///< rank1: (cols) the new maxima, for encode; decode uses those in `stored`
  float factor = 0.0f;                ///< factored: 1 / mean(row)
  InverseRoot inverse_root = {};      ///< a codec that keeps its mean: what the update makes of a second moment

  bool stochastic() const { return stored->codec.rounding == Rounding::stochastic; }
  std::int64_t block() const { return stored->codec.block; }
};

struct StateRows {
  void (*decode)(const Moment& moment, const RowPiece& piece, float* out);
  /// `first_element` addresses the random numbers of the piece's first element.
  void (*encode)(const Moment& moment, const RowPiece& piece, const float* values, std::uint64_t first_element);
};

const StateRows& state_rows(StateKind kind);

/// The codebook of a moment's codec; null if the codec has none.
const Codebook* codebook_of(const StateCodec& codec, bool is_signed);

/// Cuts a piece where blocks end, and calls body(offset in the piece, count, number of the block in the row) for each run
/// of columns.
template <class F>
void for_blocks(const RowPiece& piece, std::int64_t block, F body) {
  for (std::int64_t at = 0; at < piece.count;) {
    const std::int64_t column = piece.first + at, left = block - column % block, rest = piece.count - at;
    const std::int64_t count = left < rest ? left : rest;
    body(at, count, column / block);
    at += count;
  }
}

}  // namespace bittern::cpu
