// Views of a step's record (step_record.h) as tensors, for ops that write a part of it.
#pragma once

#include <cstddef>

#include "bittern/step_record.h"
#include "bittern/tensor.h"

namespace bittern {

inline Tensor sums_of(const Tensor& record) {
  return Tensor(record.data, DType::u8, Shape{loss_sums_bytes});
}
/// (2) f32: norm and clip.
inline Tensor norm_of(const Tensor& record) {
  return Tensor(static_cast<char*>(record.data) + offsetof(StepRecord, norm), DType::f32, Shape{2});
}

}  // namespace bittern
