// What the public function of every op needs: sentences about shapes and types, and the bytes of a tensor.
#pragma once

#include <cstdint>
#include <string_view>

#include "bittern/error.h"
#include "bittern/tensor.h"

namespace bittern {

/// A tensor of an op under the op's and its own name, for messages.
struct Checked {
  std::string_view op, name;
  const Tensor& tensor;

  const Checked& act() const {
    if (tensor.dtype != DType::f32 && tensor.dtype != DType::bf16) [[unlikely]]
      throw failure("{}: {} must be f32 or bf16, got {}", op, name, bittern::name(tensor.dtype));
    return *this;
  }
  /// f32, bf16, or codes with scales.
  const Checked& readable() const {
    if (!is_quantized(tensor.dtype)) return act();
    if (tensor.scales == nullptr && tensor.rows() > 0) [[unlikely]]
      throw failure("{}: {} has codes of {} without scales", op, name, bittern::name(tensor.dtype));
    return *this;
  }
  /// Codes that activations may be, with scales.
  const Checked& quantized_act() const {
    if (tensor.dtype != DType::e4m3 && tensor.dtype != DType::i8) [[unlikely]]
      throw failure("{}: {} must be fp8_e4m3 or i8, got {}", op, name, bittern::name(tensor.dtype));
    return readable();
  }
  const Checked& act_or_quantized() const {
    if (tensor.dtype == DType::e4m3 || tensor.dtype == DType::i8) return readable();
    if (tensor.dtype != DType::f32 && tensor.dtype != DType::bf16) [[unlikely]]
      throw failure("{}: {} must be f32, bf16, fp8_e4m3 or i8, got {}", op, name, bittern::name(tensor.dtype));
    return *this;
  }
  const Checked& of(DType dtype) const {
    if (tensor.dtype != dtype) [[unlikely]]
      throw failure("{}: {} must be {}, got {}", op, name, bittern::name(dtype), bittern::name(tensor.dtype));
    return *this;
  }
  /// A matrix of rows x cols elements; its rows may lie apart (a range of columns of a wider matrix).
  const Checked& matrix(std::int64_t rows, std::int64_t cols) const {
    const bool fits = tensor.cols() == cols && tensor.rows() == rows && tensor.row_stride >= cols;
    if (!fits || (tensor.data == nullptr && rows * cols > 0)) [[unlikely]]
      throw failure("{}: {} must have {} rows of {} elements, got {}{}", op, name, rows, cols, tensor.shape.text(),
                    tensor.data == nullptr ? " without data" : "");
    return *this;
  }
  /// `count` elements without gaps.
  const Checked& vector(std::int64_t count) const {
    const bool fits = tensor.elements() == count && tensor.contiguous();
    if (!fits || (tensor.data == nullptr && count > 0)) [[unlikely]]
      throw failure("{}: {} must have {} elements without gaps, got {}{}", op, name, count, tensor.shape.text(),
                    tensor.data == nullptr ? " without data" : "");
    return *this;
  }
};

/// 0 of an empty tensor.
inline double bytes_of(const Tensor& tensor) {
  return tensor ? static_cast<double>(tensor.bytes()) : 0.0;
}

}  // namespace bittern
