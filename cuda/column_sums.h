// column_sums: how sums over the rows of a matrix are cut on a GPU, and the second half of such a sum.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace bittern::cuda {

/// 32 rows a part as on the CPU (row_parts.h), but up to 1024 parts, so that all of a GPU has work. By the shape alone.
/// Not for what must have the CPU's bits.
inline std::int64_t column_sum_parts(std::int64_t rows) {
  const std::int64_t parts = (rows + 31) / 32;
  return parts < 1 ? 1 : parts > 1024 ? 1024 : parts;
}

/// out (cols) += the rows of partial (parts, cols), in order; rows lie `stride` floats apart.
void add_parts(float* out, const float* partial, std::int64_t parts, std::int64_t stride, std::int64_t cols,
               cudaStream_t stream);

}  // namespace bittern::cuda
