// Tensor: a non-owning view of a row-major array. Memory is owned by the plan's arena (plan.h) and nowhere else.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>

#include "bittern/dtype.h"
#include "bittern/error.h"
#include "bittern/quant/bf16.h"

namespace bittern {

/// Up to three dimensions, outermost first.
struct Shape {
  std::array<std::int64_t, 3> dims{};
  int rank = 0;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> list) : rank(static_cast<int>(list.size())) {
    check(list.size() <= 3, "a shape has at most 3 dimensions, got {}", list.size());
    std::copy(list.begin(), list.end(), dims.begin());
  }
  std::int64_t operator[](int i) const { return dims[static_cast<std::size_t>(i)]; }
  std::int64_t elements() const {
    std::int64_t product = 1;
    for (int i = 0; i < rank; ++i) product *= (*this)[i];
    return product;
  }
  bool operator==(const Shape&) const = default;
  std::string text() const {
    std::string out = "(";
    for (int i = 0; i < rank; ++i) {
      if (i > 0) out += ',';
      out += std::to_string((*this)[i]);
    }
    out += ')';
    return out;
  }
};

/// A view {data, dtype, shape, leading dimension, scales}. A matrix view may be a column range of a wider matrix:
/// row r starts at data + r * row_stride elements (packed elements: at the byte that row_bytes says). Everything but
/// the last dimension is rows. Codes of a quantized matrix become numbers by their row's scale: x[r,c] = code[r,c] *
/// scales[r] (a scale per tensor is the same number in every row).
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;
  std::int64_t row_stride = 0;  ///< elements between the starts of two rows
  float* scales = nullptr;      ///< (rows), where dtype is quantized

  Tensor() = default;
  Tensor(void* data_, DType dtype_, Shape shape_) : data(data_), dtype(dtype_), shape(shape_), row_stride(cols()) {}

  explicit operator bool() const { return data != nullptr; }
  std::int64_t elements() const { return shape.elements(); }
  std::int64_t bytes() const { return rows() * row_bytes(dtype, cols()); }  ///< without the scales
  std::int64_t cols() const { return shape.rank == 0 ? 1 : shape[shape.rank - 1]; }
  std::int64_t rows() const { return cols() == 0 ? 0 : elements() / cols(); }
  bool contiguous() const { return row_stride == cols() || rows() <= 1; }
  void* row(std::int64_t r) const { return static_cast<char*>(data) + r * row_bytes(dtype, row_stride); }

  /// Rows [first, first + count) as a matrix; of a vector, those elements.
  Tensor slice_rows(std::int64_t first, std::int64_t count) const {
    const bool vector = shape.rank <= 1;
    Tensor view = *this;
    view.shape = vector ? Shape{count} : Shape{count, cols()};
    view.row_stride = vector ? count : row_stride;
    view.data = vector ? static_cast<char*>(data) + first * size_of(dtype) : row(first);
    if (scales != nullptr) view.scales = scales + (vector ? 0 : first);
    return view;
  }
  /// Columns [first, first + count) of every row, as a matrix. Of packed elements, first is a multiple of 8.
  Tensor slice_cols(std::int64_t first, std::int64_t count) const {
    Tensor view = *this;
    view.shape = Shape{rows(), count};
    view.data = static_cast<char*>(data) + row_bytes(dtype, first);
    return view;
  }

  template <typename T>
  T* as() const {
    check(dtype == dtype_of<T>(), "a tensor of {} was read as {}", name(dtype), name(dtype_of<T>()));
    return static_cast<T*>(data);
  }
  template <typename T>
  static constexpr DType dtype_of() {
    if constexpr (std::is_same_v<T, float>)
      return DType::f32;
    else if constexpr (std::is_same_v<T, bf16>)
      return DType::bf16;
    else if constexpr (std::is_same_v<T, std::int32_t>)
      return DType::i32;
    else {
      static_assert(std::is_same_v<T, std::uint8_t>, "no DType for this type");
      return DType::u8;
    }
  }
};

}  // namespace bittern
