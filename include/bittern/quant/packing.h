// packing: rows of codes of 2 to 8 bits.
// Element i lies at bit i * bits of its row, low bits first; a row starts at a byte; bits after the last element are 0.
// So eight codes are `bits` whole bytes, and a run of codes that starts at a multiple of 8 can be read or written
// alone. What a code means is up to its DType: an index, or an integer in two's complement.
//
// Eight codes are spread to (or gathered from) the eight bytes of one word in three steps of shift and mask: halves,
// quarters, eighths. It needs no vector instructions, and compilers make good vector code of it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bittern/host_device.h"

namespace bittern {

/// Bytes of a row of `columns` codes.
BITTERN_HD constexpr std::int64_t packed_row_bytes(std::int64_t columns, int bits) {
  return (columns * bits + 7) / 8;
}

static_assert(std::endian::native == std::endian::little, "a word's first byte holds its first codes");

namespace packing_detail {

/// `count` ones at every `stride` bits of a word.
BITTERN_HD constexpr std::uint64_t mask(int count, int stride) {
  std::uint64_t m = 0;
  for (int at = 0; at < 64; at += stride) m |= ((std::uint64_t{1} << count) - 1) << at;
  return m;
}

}  // namespace packing_detail

/// The low 8 * Bits bits of `packed` as one code per byte.
template <int Bits>
BITTERN_HD std::uint64_t spread_codes(std::uint64_t packed) {
  static_assert(Bits >= 2 && Bits <= 7, "eight bits need no spreading");
  using packing_detail::mask;
  // The lower of every two halves, quarters, eighths stays where it is; the upper one moves up to its byte.
  constexpr std::uint64_t half = mask(4 * Bits, 64), quarter = mask(2 * Bits, 32), eighth = mask(Bits, 16);
  packed = (packed & half) | ((packed << (32 - 4 * Bits)) & half << 32);
  packed = (packed & quarter) | ((packed << (16 - 2 * Bits)) & quarter << 16);
  return (packed & eighth) | ((packed << (8 - Bits)) & eighth << 8);
}

/// The inverse of spread_codes. Each byte is below 2^Bits.
template <int Bits>
BITTERN_HD std::uint64_t gather_codes(std::uint64_t spread) {
  static_assert(Bits >= 2 && Bits <= 7, "eight bits need no gathering");
  using packing_detail::mask;
  constexpr std::uint64_t eighth = mask(Bits, 16), quarter = mask(2 * Bits, 32), half = mask(4 * Bits, 64);
  spread = (spread & eighth) | ((spread >> (8 - Bits)) & eighth << Bits);
  spread = (spread & quarter) | ((spread >> (16 - 2 * Bits)) & quarter << (2 * Bits));
  return (spread & half) | ((spread >> (32 - 4 * Bits)) & half << (4 * Bits));
}

namespace packing_detail {

/// True for 2, 4 and 8. Other sizes are moved byte by byte: a copy of three goes through memory, five times slower.
BITTERN_HD constexpr bool moves_at_once(std::size_t bytes) {
  return (bytes & (bytes - 1)) == 0;
}

/// The first `bytes` bytes of a word.
BITTERN_HD std::uint64_t load(const std::uint8_t* from, std::size_t bytes) {
  std::uint64_t word = 0;
  if (moves_at_once(bytes)) {
    memcpy(&word, from, bytes);
  } else {
    for (std::size_t i = 0; i < bytes; ++i) word |= static_cast<std::uint64_t>(from[i]) << (8 * i);
  }
  return word;
}
BITTERN_HD void store(std::uint8_t* to, std::uint64_t word, std::size_t bytes) {
  if (moves_at_once(bytes)) {
    memcpy(to, &word, bytes);
  } else {
    for (std::size_t i = 0; i < bytes; ++i) to[i] = static_cast<std::uint8_t>(word >> (8 * i));
  }
}

template <int Bits>
BITTERN_HD void pack(const std::uint8_t* codes, std::int64_t count, std::uint8_t* packed) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8, packed += Bits) store(packed, gather_codes<Bits>(load(codes + i, 8)), Bits);
  if (i == count) return;
  const auto rest = static_cast<std::size_t>(count - i);
  store(packed, gather_codes<Bits>(load(codes + i, rest)), (rest * Bits + 7) / 8);
}

template <int Bits>
BITTERN_HD void unpack(const std::uint8_t* packed, std::int64_t count, std::uint8_t* codes) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8, packed += Bits) store(codes + i, spread_codes<Bits>(load(packed, Bits)), 8);
  if (i == count) return;
  const auto rest = static_cast<std::size_t>(count - i);
  store(codes + i, spread_codes<Bits>(load(packed, (rest * Bits + 7) / 8)), rest);
}

}  // namespace packing_detail

/// packed = the codes of elements first, first + 1, ..., first + count - 1 of a row that starts at `row`. `first` is a
/// multiple of 8, and so is `count` unless the run ends the row. Each code is below 2^bits; bits is 2 .. 8.
BITTERN_HD void pack_codes(int bits, const std::uint8_t* codes, std::int64_t first, std::int64_t count,
                           std::uint8_t* row) {
  std::uint8_t* packed = row + first / 8 * bits;
  switch (bits) {
    case 2:
      return packing_detail::pack<2>(codes, count, packed);
    case 3:
      return packing_detail::pack<3>(codes, count, packed);
    case 4:
      return packing_detail::pack<4>(codes, count, packed);
    case 5:
      return packing_detail::pack<5>(codes, count, packed);
    case 6:
      return packing_detail::pack<6>(codes, count, packed);
    case 7:
      return packing_detail::pack<7>(codes, count, packed);
    default:
      if (count > 0) memcpy(packed, codes, static_cast<std::size_t>(count));
  }
}

/// The inverse of pack_codes: codes (count) = elements first .. first + count - 1 of the row.
BITTERN_HD void unpack_codes(int bits, const std::uint8_t* row, std::int64_t first, std::int64_t count,
                             std::uint8_t* codes) {
  const std::uint8_t* packed = row + first / 8 * bits;
  switch (bits) {
    case 2:
      return packing_detail::unpack<2>(packed, count, codes);
    case 3:
      return packing_detail::unpack<3>(packed, count, codes);
    case 4:
      return packing_detail::unpack<4>(packed, count, codes);
    case 5:
      return packing_detail::unpack<5>(packed, count, codes);
    case 6:
      return packing_detail::unpack<6>(packed, count, codes);
    case 7:
      return packing_detail::unpack<7>(packed, count, codes);
    default:
      if (count > 0) memcpy(codes, packed, static_cast<std::size_t>(count));
  }
}

/// One code of a row, wherever it lies: for a test, or a thread that wants a single element.
BITTERN_HD std::uint8_t code_at(int bits, const std::uint8_t* row, std::int64_t i) {
  const std::int64_t bit = i * bits;
  const int within = static_cast<int>(bit % 8);
  std::uint32_t word = row[bit / 8];
  if (within + bits > 8) word |= static_cast<std::uint32_t>(row[bit / 8 + 1]) << 8;
  return static_cast<std::uint8_t>((word >> within) & ((1u << bits) - 1u));
}

}  // namespace bittern
