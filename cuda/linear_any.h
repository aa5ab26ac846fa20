// linear_any on plain pointers: out (M,N) = A (M,K) B (N,K)^T, whatever the operands are made of and however they lie.
#pragma once

#include <cstdint>

#include "cuda/rows.h"

namespace bittern::cuda {

/// One side of the product. Of codes the kernel takes the numbers without their scales, which are exact in bf16.
struct LinearOperand {
  Rows x;
  bool transposed;                 ///< element (i,k) of the operand lies in row k, column i of x
  const float* factors = nullptr;  ///< (K) what x is multiplied by, in fp32, before it is rounded; or none
  const float* scales = nullptr;   ///< (M) or (N) what the sums are multiplied by; or none
};

struct LinearAnyArgs {
  LinearOperand a, b;
  Rows out;                        ///< (M,N) f32 or bf16
  const float* bias;               ///< (N), or none
  std::int64_t rows, cols, depth;  ///< M, N, K
  bool bf16_operands;              ///< operands that are no codes are rounded to bf16
  bool accumulate;                 ///< out += rather than out =
};
void linear_any(const LinearAnyArgs& args, cudaStream_t stream);

}  // namespace bittern::cuda
