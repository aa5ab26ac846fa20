// Unpacks a piece of a row of codes to one byte per code, and packs it.
#include "ops/cpu/codes/code_rows.h"

#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {

void unpack_row(const Tensor& tensor, const RowPiece& piece, std::uint8_t* codes) {
  const int bits = bits_of(tensor.dtype);
  const auto* const row = static_cast<const std::uint8_t*>(tensor.row(piece.row));
  if (bits == 4) return simd([&] { unpack_bytes<4>(codes, row + piece.first / 2, piece.count); });
  if (bits == 2) return simd([&] { unpack_bytes<2>(codes, row + piece.first / 4, piece.count); });
  unpack_codes(bits, row, piece.first, piece.count, codes);
}

void pack_row(const Tensor& tensor, const RowPiece& piece, const std::uint8_t* codes) {
  const int bits = bits_of(tensor.dtype);
  auto* const row = static_cast<std::uint8_t*>(tensor.row(piece.row));
  if (bits == 4) return simd([&] { pack_bytes<4>(row + piece.first / 2, codes, piece.count); });
  if (bits == 2) return simd([&] { pack_bytes<2>(row + piece.first / 4, codes, piece.count); });
  pack_codes(bits, codes, piece.first, piece.count, row);
}

}  // namespace bittern::cpu
