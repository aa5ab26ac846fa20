// copy, zero: to = from, f32 <-> bf16 (nearest even), codes with scales -> f32 or bf16, or bytes of one type;  x = 0.
//   to, from: matrices of one size; rows may lie apart. Reads from, writes to: memory-bound.
//   Codes to codes of one type are copied without their scales.
#include <algorithm>
#include <cstring>

#include "ops/cpu/backend.h"
#include "ops/cpu/machine/elements.h"
#include "ops/cpu/machine/row_parts.h"
#include "ops/cpu/optimizer/weight_rows.h"

namespace bittern::cpu {
namespace {

/// Calls body(element offset in x, element offset in y, count) over pieces of two equal matrices, shared between
/// threads.
template <class F>
void for_pieces(const Tensor& x, const Tensor& y, F body) {
  const bool one_row = x.contiguous() && y.contiguous();
  const std::int64_t rows = one_row ? 1 : x.rows(), cols = one_row ? x.elements() : x.cols();
  constexpr std::int64_t piece = 65536;
  const std::int64_t pieces = (cols + piece - 1) / piece;
  // Short rows are handed out several at a time.
  const std::int64_t rows_each = std::max<std::int64_t>(1, piece / std::max<std::int64_t>(cols, 1));
  const std::int64_t row_groups = (rows + rows_each - 1) / rows_each;
  parallel_for(row_groups * pieces, [&](std::int64_t part) {
    const std::int64_t first = part % pieces * piece, count = std::min(piece, cols - first);
    const std::int64_t group = part / pieces * rows_each;
    for (std::int64_t r = group; r < std::min(group + rows_each, rows); ++r)
      body(r * x.row_stride + first, r * y.row_stride + first, count);
  });
}

template <typename To, typename From>
inline void convert(To* to, const From* from, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) to[i] = from_float<To>(to_float(from[i]));
}

template <typename To, typename From>
void launch_convert(const Tensor& to, const Tensor& from) {
  for_pieces(to, from, [&](std::int64_t t, std::int64_t f, std::int64_t n) {
    simd([&] { convert(static_cast<To*>(to.data) + t, static_cast<const From*>(from.data) + f, n); });
  });
}

/// The same memory as rows of bytes, which packed elements need to be moved.
Tensor as_bytes(const Tensor& x) {
  if (!is_packed(x.dtype)) return x;
  Tensor bytes(x.data, DType::u8, Shape{x.rows(), row_bytes(x.dtype, x.cols())});
  bytes.row_stride = row_bytes(x.dtype, x.row_stride);
  return bytes;
}

void launch_decode(const Tensor& to, const Tensor& from) {
  const std::int64_t rows = from.rows();
  for_row_ranges(rows, even_parts(rows, from.cols()), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r)
      for_chunks({r, 0, from.cols()}, [&](const RowPiece& piece, std::int64_t) {
        if (to.dtype == DType::f32) return decode_weight_row(from, piece, values_at<float>(to, piece));
        alignas(64) float values[chunk];
        decode_weight_row(from, piece, values);
        simd([&] { convert(values_at<bf16>(to, piece), values, piece.count); });
      });
  });
}

void launch_bytes(const Tensor& to, const Tensor& from) {
  const std::int64_t size = size_of(to.dtype);
  for_pieces(to, from, [&](std::int64_t t, std::int64_t f, std::int64_t n) {
    std::memcpy(static_cast<char*>(to.data) + t * size, static_cast<const char*>(from.data) + f * size,
                static_cast<std::size_t>(n * size));
  });
}

}  // namespace

void CpuBackend::do_copy(const Copy& args) {
  const Tensor &to = args.to, &from = args.from;
  if (to.dtype == from.dtype) return launch_bytes(as_bytes(to), as_bytes(from));
  if (is_quantized(from.dtype)) return launch_decode(to, from);
  if (to.dtype == DType::bf16) return launch_convert<bf16, float>(to, from);
  launch_convert<float, bf16>(to, from);
}

void CpuBackend::do_zero(const Zero& args) {
  const Tensor bytes = as_bytes(args.x);
  const std::int64_t size = size_of(bytes.dtype);
  for_pieces(bytes, bytes, [&](std::int64_t first, std::int64_t, std::int64_t n) {
    std::memset(static_cast<char*>(bytes.data) + first * size, 0, static_cast<std::size_t>(n * size));
  });
}

}  // namespace bittern::cpu
