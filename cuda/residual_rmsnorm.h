// residual_rmsnorm on plain pointers. The arguments' names and shapes are those of ops.h.
#pragma once

#include <cstdint>

#include "cuda/rows.h"

namespace bittern::cuda {

struct RmsnormForwardArgs {
  Rows sum;  ///< with `keep` it is written
  Rows n;
  float* rstd;
  Rows x, y;
  Rows w;
  std::int64_t rows;
  int cols;
  float eps, offset;
  bool keep;  ///< whether there is a sum to store
};
void residual_rmsnorm_forward(const RmsnormForwardArgs& args, cudaStream_t stream);

struct RmsnormBackwardArgs {
  Rows dx;
  float* dw;
  float* partial;  ///< (column_sum_parts(rows), cols)
  Rows dn, sum;
  const float* rstd;
  Rows w;
  std::int64_t rows;
  int cols;
  float offset;
  bool overwrite;  ///< dx = rather than dx +=
};
void residual_rmsnorm_backward(const RmsnormBackwardArgs& args, cudaStream_t stream);

}  // namespace bittern::cuda
