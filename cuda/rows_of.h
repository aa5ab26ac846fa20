// rows_of: a tensor as kernels see it.
#pragma once

#include "bittern/tensor.h"
#include "cuda/rows.h"

namespace bittern::cuda {

inline Rows rows_of(const Tensor& x) {
  return {.data = x.data, .stride = x.row_stride, .dtype = x.dtype, .scales = x.scales};
}

}  // namespace bittern::cuda
