// Decodes a piece of codes into a small matrix of bytes or bf16, which packers can read.
#include "ops/cpu/gemm/gemm_stage.h"

#include "ops/cpu/codes/decode.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {

DType stage_piece(const StagePiece& piece, bool integers, void* dst, std::int64_t stride) {
  const auto row = [&](std::int64_t r) { return static_cast<const char*>(piece.src) + r * piece.row_bytes; };
  simd([&] {
    for (std::int64_t r = 0; r < piece.rows; ++r)
      if (integers)
        decode_integers(static_cast<std::int8_t*>(dst) + r * stride, piece.dtype, row(r), piece.cols);
      else
        decode(static_cast<bf16*>(dst) + r * stride, piece.dtype, row(r), piece.cols);
  });
  return integers ? DType::i8 : DType::bf16;
}

}  // namespace bittern::cpu
