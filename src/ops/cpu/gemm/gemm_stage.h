// gemm_stage: a piece of codes, which the packers cannot read where they lie, made into a small matrix that they can.
// Pieces are some rows by some hundred columns, so that they stay in the first-level cache until they are packed.
#pragma once

#include <cstdint>

#include "bittern/dtype.h"

namespace bittern::cpu {

/// `rows` runs of `cols` elements. Codes begin at a byte.
struct StagePiece {
  const void* src;         ///< the first row's first element
  std::int64_t row_bytes;  ///< between rows
  DType dtype;
  std::int64_t rows, cols;
};

/// dst, with `stride` elements from one row to the next = the codes: as bytes for a product of integers, else as bf16,
/// which holds them exactly. Returns which of the two.
DType stage_piece(const StagePiece& piece, bool integers, void* dst, std::int64_t stride);

}  // namespace bittern::cpu
