// code_rows: packed codes of a row <-> one byte per code. Indices (uN) and E4M3 are bytes as they are; integers (iN)
// are two's complement of N bits, and signed bytes once unpacked.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bittern/quant/packing.h"
#include "bittern/tensor.h"

namespace bittern::cpu {

/// Columns first .. first + count - 1 of row `row` of codes; first is a multiple of 8.
struct RowPiece {
  std::int64_t row, first, count;
};

/// A kernel's arrays on the stack hold so many elements.
inline constexpr std::int64_t chunk = 256;

/// body(a piece of at most `chunk` columns, its offset in `piece`) over all of `piece`.
template <class F>
void for_chunks(const RowPiece& piece, F body) {
  for (std::int64_t at = 0; at < piece.count; at += chunk)
    body(RowPiece{piece.row, piece.first + at, std::min(chunk, piece.count - at)}, at);
}

inline void unpack_row(const Tensor& tensor, const RowPiece& piece, std::uint8_t* codes) {
  unpack_codes(bits_of(tensor.dtype), static_cast<const std::uint8_t*>(tensor.row(piece.row)), piece.first, piece.count,
               codes);
}
inline void pack_row(const Tensor& tensor, const RowPiece& piece, const std::uint8_t* codes) {
  pack_codes(bits_of(tensor.dtype), codes, piece.first, piece.count, static_cast<std::uint8_t*>(tensor.row(piece.row)));
}

/// T* at an element of a row of plain values.
template <typename T>
T* values_at(const Tensor& tensor, const RowPiece& piece) {
  return static_cast<T*>(tensor.row(piece.row)) + piece.first;
}

}  // namespace bittern::cpu
