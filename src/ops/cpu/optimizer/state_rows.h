// state_rows: pieces of a stored moment (quant/state_codec.h) to fp32 and back, a table by StateKind. A new kind is a
// function pair in a file of its own (state_KIND.cpp) and a line in state_rows.cpp.
//   A piece is columns [first, first + count) of a row; first is a multiple of the codec's block and of 8, and the
//   piece ends a block or the row. Scale 0, as memory begins, decodes to 0 whatever the codes are. NaN: a block
//   (rank-1: what shares a row and a column) with one gets the scale NaN and decodes to NaN; bf16 and f32 keep it where
//   it is.
#pragma once

#include <cstdint>

#include "bittern/optim/optimizer_step.h"
#include "bittern/quant/codebook.h"
#include "ops/cpu/codes/code_rows.h"
#include "ops/cpu/optimizer/random_words.h"

namespace bittern::cpu {

/// A moment as a step works on it.
struct Moment {
  const StoredMoment* stored = nullptr;
  const Codebook* book = nullptr;  ///< codebook and rank1
  RandomStream random = {};
  const float* new_column = nullptr;  ///< rank1: (cols) the maxima to encode by; those in `stored` decode
  float factor = 0.0f;                ///< factored: 1 / mean(row)

  bool stochastic() const { return stored->codec.rounding == Rounding::stochastic; }
  std::int64_t block() const { return stored->codec.block; }
};

struct StateRows {
  void (*decode)(const Moment& moment, const RowPiece& piece, float* out);
  /// `first_element`: what addresses the random numbers of the piece.
  void (*encode)(const Moment& moment, const RowPiece& piece, const float* values, std::uint64_t first_element);
};

const StateRows& state_rows(StateKind kind);

/// The codebook of a moment, or none.
const Codebook* codebook_of(const StateCodec& codec, bool is_signed);

/// body(offset in the piece, count, number of the block in its row) over runs of columns that lie in one block.
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
