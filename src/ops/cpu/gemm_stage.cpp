#include "ops/cpu/gemm_stage.h"

#include "ops/cpu/decode.h"
#include "ops/cpu/simd.h"

namespace bittern::cpu {
void stage_codes(const StagePiece& piece, bf16* dst, std::int64_t dst_stride) {
  simd([&] {
    for (std::int64_t r = 0; r < piece.rows; ++r)
      decode(dst + r * dst_stride, piece.dtype, static_cast<const char*>(piece.src) + r * piece.row_bytes, piece.cols);
  });
}

void stage_integers(const StagePiece& piece, std::int8_t* dst, std::int64_t dst_stride) {
  simd([&] {
    for (std::int64_t r = 0; r < piece.rows; ++r)
      decode_integers(dst + r * dst_stride, piece.dtype, static_cast<const char*>(piece.src) + r * piece.row_bytes,
                      piece.cols);
  });
}

}  // namespace bittern::cpu
