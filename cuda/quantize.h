// quantize on plain pointers: q (rows, cols) codes with scales = x (rows, cols).
#pragma once

#include <cstdint>

#include "cuda/rows.h"

namespace bittern::cuda {

void quantize(const Rows& q, const Rows& x, std::int64_t rows, int cols, cudaStream_t stream);

}  // namespace bittern::cuda
