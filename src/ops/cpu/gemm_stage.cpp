#include "ops/cpu/gemm_stage.h"

#include "ops/cpu/checked.h"
#include "ops/cpu/decode.h"
#include "ops/cpu/simd.h"

namespace bittern::cpu {
namespace {

template <typename T>
void scale_rows(const StagePiece& piece, const float* scales, bool by_column, float* dst, std::int64_t dst_stride) {
  simd([&] {
    for (std::int64_t r = 0; r < piece.rows; ++r) {
      const auto* src = reinterpret_cast<const T*>(static_cast<const char*>(piece.src) + r * piece.row_bytes);
      float* to = dst + r * dst_stride;
      if (by_column) {
#pragma omp simd
        for (std::int64_t i = 0; i < piece.cols; ++i) to[i] = to_float(src[i]) * scales[i];
      } else {
        const float scale = scales[r];
#pragma omp simd
        for (std::int64_t i = 0; i < piece.cols; ++i) to[i] = to_float(src[i]) * scale;
      }
    }
  });
}

}  // namespace

void stage_codes(const StagePiece& piece, bf16* dst, std::int64_t dst_stride) {
  simd([&] {
    for (std::int64_t r = 0; r < piece.rows; ++r)
      decode(dst + r * dst_stride, piece.dtype, static_cast<const char*>(piece.src) + r * piece.row_bytes, piece.cols);
  });
}

void stage_scaled(const StagePiece& piece, const float* scales, bool by_column, float* dst, std::int64_t dst_stride) {
  with_act(piece.dtype, [&](auto t) { scale_rows<decltype(t)>(piece, scales, by_column, dst, dst_stride); });
}

}  // namespace bittern::cpu
