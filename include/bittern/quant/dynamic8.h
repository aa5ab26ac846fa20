// dynamic8: the nearest code of the 8-bit dynamic codebooks by one look-up and one comparison, where a search takes
// eight of each. The sign, the exponent and the top seven bits of the fraction choose a bucket of floats, so narrow
// that at most one threshold lies in it; the table has the code of the bucket's lowest float. 2 to 3 ns an element,
// where the search takes 25 (bench/quant). It does not vectorise: what follows it, as stochastic_code, is better a loop
// of its own.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "bittern/host_device.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/codebook.h"

namespace bittern {

struct Dynamic8 {
  // A bucket is the upper half of a float's bits. Below 2^-24 there is only zero's code, from 1 up only the end's.
  static constexpr std::uint32_t first_bucket = (127 - 24) << 7, last_bucket = 127 << 7;
  static constexpr std::uint32_t buckets = last_bucket - first_bucket + 1;

  float next[256];                // next[k]: the smallest float of code k + 1
  std::uint8_t code[2][buckets];  // of the lowest float in the bucket; [1]: of negative ones
};

/// nearest_code<8>(x, threshold) of the codebook that `table` was made from. A NaN becomes one of the ends.
BITTERN_HD std::int32_t nearest_code(float x, const Dynamic8& table) {
  const std::uint32_t bits = float_bits(x), half = (bits & 0x7fffffffu) >> 16;
  const std::uint32_t above = half > Dynamic8::first_bucket ? half - Dynamic8::first_bucket : 0u;
  const std::uint32_t bucket = above < Dynamic8::buckets - 1u ? above : Dynamic8::buckets - 1u;
  const std::int32_t code = table.code[bits >> 31][bucket];
  return code + static_cast<std::int32_t>(x >= table.next[code]);
}

namespace dynamic8_detail {

/// Walks up the buckets of one sign, from the lowest float to the highest, and the codes with them.
constexpr Dynamic8 make(const CodebookTable<8>& book) {
  Dynamic8 table = {};
  for (int k = 0; k < 255; ++k) table.next[k] = book.threshold[k + 1];
  table.next[255] = std::numeric_limits<float>::quiet_NaN();  // no x is >= NaN
  int code = 0;
  const auto code_of = [&](float x) {  // of an x that is no lower than the one before
    while (code < 255 && x >= table.next[code]) ++code;
    return static_cast<std::uint8_t>(code);
  };
  for (std::uint32_t i = Dynamic8::buckets; i-- > 0;) {
    const std::uint32_t last_float = ((Dynamic8::first_bucket + i) << 16) | 0xffffu;
    table.code[1][i] = i == Dynamic8::buckets - 1 ? 0 : code_of(-std::bit_cast<float>(last_float));
  }
  for (std::uint32_t i = 0; i < Dynamic8::buckets; ++i)
    table.code[0][i] = i == 0 ? code_of(0.0f) : code_of(std::bit_cast<float>((Dynamic8::first_bucket + i) << 16));
  return table;
}

}  // namespace dynamic8_detail

inline constexpr Dynamic8 dynamic8_signed = dynamic8_detail::make(dynamic_exponent<8, true, true>);
inline constexpr Dynamic8 dynamic8_unsigned = dynamic8_detail::make(dynamic_exponent<8, false, true>);

}  // namespace bittern
