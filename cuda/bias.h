// bias_backward on plain pointers: dbias (cols) += the rows of dy (rows, cols), by partial (column_sum_parts(rows), cols).
#pragma once

#include <cstdint>

#include "cuda/rows.h"

namespace bittern::cuda {

void bias_backward(float* dbias, float* partial, const Rows& dy, std::int64_t rows, int cols, cudaStream_t stream);

}  // namespace bittern::cuda
