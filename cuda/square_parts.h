// square_parts on plain pointers.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace bittern::cuda {

/// A gradient (rows, cols) f32 without gaps, cut into row_parts(rows) parts, and each part into `pieces` pieces of
/// consecutive elements.
struct SquaredGradient {
  const float* data;
  std::int64_t rows, cols, pieces;
  std::int64_t first_part, first_piece;  ///< in the launch's arrays
};
/// A launch's gradients: as many as fit into a kernel's arguments.
inline constexpr int squared_at_once = 48;
struct SquaredGradients {
  SquaredGradient of[squared_at_once];
  int count;
  std::int64_t pieces;  ///< of all of them
  double* piece_sums;   ///< (pieces)
  double* parts;        ///< those of the first gradient first
};
/// How many pieces a part of such a gradient has. By its shape alone.
std::int64_t pieces_of_part(std::int64_t rows, std::int64_t cols);

void square_parts(const SquaredGradients& args, cudaStream_t stream);

}  // namespace bittern::cuda
