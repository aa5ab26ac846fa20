// Rows: a matrix as kernels see it, for both sides: what unpacks the arguments, and the kernels.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "bittern/dtype.h"
#include "bittern/host_device.h"

namespace bittern::cuda {

/// A matrix as kernels see it, as Tensor (tensor.h) on the host.
struct Rows {
  void* data = nullptr;     ///< null: there is no such matrix
  std::int64_t stride = 0;  ///< elements between the starts of two rows
  DType dtype = DType::f32;
  float* scales = nullptr;  ///< one a row, where the elements are codes
};

/// Bits of an element. The table of dtype.h is the host's.
BITTERN_HD constexpr int element_bits(DType dtype) {
  if (dtype >= DType::i8 && dtype <= DType::i2) return 8 - (static_cast<int>(dtype) - static_cast<int>(DType::i8));
  if (dtype >= DType::u4) return 4 - (static_cast<int>(dtype) - static_cast<int>(DType::u4));
  if (dtype == DType::e4m3 || dtype == DType::u8) return 8;
  return dtype == DType::f32 || dtype == DType::i32 ? 32 : 16;
}
static_assert([] {
  for (const DTypeInfo& row : dtype_table)
    if (element_bits(row.dtype) != row.bits) return false;
  return true;
}());

BITTERN_HD constexpr bool is_code(DType dtype) {
  return dtype >= DType::e4m3;
}

}  // namespace bittern::cuda
