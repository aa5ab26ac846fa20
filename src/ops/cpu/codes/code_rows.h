// code_rows: packed codes of a row <-> one byte per code. Indices (uN) and E4M3 are bytes as they are; integers (iN)
// are two's complement of N bits, and signed bytes once unpacked.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

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

/// Eight packed codes as they are loaded at once; none for sizes that are loaded byte by byte.
template <int bits>
using PackedGroup = std::conditional_t<bits == 4, std::uint32_t, std::conditional_t<bits == 2, std::uint16_t, void>>;

/// Packed codes, one to a byte: unpack_codes, whose loads of 2 and 4 bits do not vectorise; these do, and are three
/// to four times faster. Inside simd().
template <int bits>
inline void unpack_bytes(std::uint8_t* out, const std::uint8_t* packed, std::int64_t count) {
  std::int64_t done = 0;
  if constexpr (!std::is_void_v<PackedGroup<bits>>) {
    const std::int64_t groups = count / 8;
#pragma omp simd
    for (std::int64_t g = 0; g < groups; ++g) {
      PackedGroup<bits> group;
      std::memcpy(&group, packed + g * bits, sizeof group);
      const std::uint64_t word = spread_codes<bits>(group);
      std::memcpy(out + 8 * g, &word, sizeof word);
    }
    done = 8 * groups;
  }
  unpack_codes(bits, packed, done, count - done, out + done);
}
/// pack_codes in the same way; `packed` begins with the first code.
template <int bits>
inline void pack_bytes(std::uint8_t* packed, const std::uint8_t* codes, std::int64_t count) {
  const std::int64_t groups = count / 8;
#pragma omp simd
  for (std::int64_t g = 0; g < groups; ++g) {
    std::uint64_t word;
    std::memcpy(&word, codes + 8 * g, sizeof word);
    const auto group = static_cast<PackedGroup<bits>>(gather_codes<bits>(word));
    std::memcpy(packed + g * bits, &group, sizeof group);
  }
  pack_codes(bits, codes + 8 * groups, 8 * groups, count - 8 * groups, packed);
}

void unpack_row(const Tensor& tensor, const RowPiece& piece, std::uint8_t* codes);
void pack_row(const Tensor& tensor, const RowPiece& piece, const std::uint8_t* codes);

/// T* at an element of a row of plain values.
template <typename T>
T* values_at(const Tensor& tensor, const RowPiece& piece) {
  return static_cast<T*>(tensor.row(piece.row)) + piece.first;
}

}  // namespace bittern::cpu
