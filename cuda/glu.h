// glu on plain pointers. The arguments' names and shapes are those of ops.h.
#pragma once

#include <cstdint>

#include "bittern/activation.h"
#include "cuda/rows.h"

namespace bittern::cuda {

struct GluArgs {
  Rows gate_up, out;
  Rows dout;  ///< backward alone
  std::int64_t rows;
  int cols;  ///< of out: F
  Activation activation;
};
void glu_forward(const GluArgs& args, cudaStream_t stream);
void glu_backward(const GluArgs& args, cudaStream_t stream);

}  // namespace bittern::cuda
