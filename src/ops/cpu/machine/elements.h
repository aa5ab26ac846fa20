// From a tensor to C++: the element type that its DType stands for, and where a row begins.
#pragma once

#include <cstdint>

#include "bittern/quant/bf16.h"
#include "bittern/tensor.h"

namespace bittern::cpu {

/// f(T{}) with T = float or bf16: the element types of activations and weights.
template <class F>
void with_act(DType dtype, F&& f) {
  if (dtype == DType::bf16)
    f(bf16{});
  else
    f(float{});
}

/// Row r of a matrix of T.
template <typename T>
T* row_of(const Tensor& matrix, std::int64_t r) {
  return static_cast<T*>(matrix.data) + r * matrix.row_stride;
}

}  // namespace bittern::cpu
