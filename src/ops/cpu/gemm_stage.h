// gemm_stage: a piece of codes, which the packers cannot read where they lie, made into a small matrix that they can.
// Pieces are some rows by some hundred columns, so that they stay in the first-level cache until they are packed.
#pragma once

#include <cstdint>

#include "bittern/dtype.h"
#include "bittern/quant/bf16.h"

namespace bittern::cpu {

/// `rows` runs of `cols` elements. Codes begin at a byte.
struct StagePiece {
  const void* src;         ///< the first row's first element
  std::int64_t row_bytes;  ///< between rows
  DType dtype;
  std::int64_t rows, cols;
};

/// dst = the codes, which bf16 holds exactly.
void stage_codes(const StagePiece& piece, bf16* dst, std::int64_t dst_stride);

/// dst = the codes of integers as bytes.
void stage_integers(const StagePiece& piece, std::int8_t* dst, std::int64_t dst_stride);

}  // namespace bittern::cpu
