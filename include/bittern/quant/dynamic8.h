// dynamic8: the nearest code of the 8-bit dynamic codebooks by one look-up and one comparison, where a search takes
// eight of each. The sign, the exponent and the top seven bits of the fraction choose a bucket of floats, so narrow
// that at most one threshold lies in it; the table has the code of the bucket's lowest float, and up to where in the
// bucket it goes. It vectorises where look-ups do, four times as fast as the search (bench/quant).
#pragma once

#include <bit>
#include <cstdint>

#include "bittern/host_device.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/codebook.h"

namespace bittern {

struct Dynamic8 {
  // A bucket is the upper half of a float's bits. Below 2^-24 there is only zero's code, from 1 up only the end's.
  static constexpr std::uint32_t first_bucket = (127 - 24) << 7, last_bucket = 127 << 7;
  static constexpr std::uint32_t buckets = last_bucket - first_bucket + 1;

  // The buckets of positive floats, then those of negative ones. Low half: the code of the lowest float. High half: the
  // last place in the bucket, counted from its lowest float, that has this code; places above it have the next one.
  std::uint32_t entry[2 * buckets];
};

/// nearest_code<8>(x, threshold) of the codebook that `table` was made from. A NaN becomes one of the ends.
BITTERN_HD std::int32_t nearest_code(float x, const Dynamic8& table) {
  const std::uint32_t bits = float_bits(x), half = (bits & 0x7fffffffu) >> 16;
  const std::uint32_t if_negative = 0u - (bits >> 31);  // all ones or none
  const std::uint32_t least = half > Dynamic8::first_bucket ? half : Dynamic8::first_bucket;
  const std::uint32_t bounded = least < Dynamic8::last_bucket ? least : Dynamic8::last_bucket;
  const std::uint32_t entry =
      table.entry[static_cast<std::int32_t>(bounded - Dynamic8::first_bucket + (if_negative & Dynamic8::buckets))];
  const std::uint32_t place = (bits ^ if_negative) & 0xffffu;  // a negative float rises as its magnitude falls
  return static_cast<std::int32_t>((entry & 0xffffu) + static_cast<std::uint32_t>(place > entry >> 16));
}

namespace dynamic8_detail {

/// Walks up the buckets of one sign, from the lowest float to the highest, and the codes with them.
constexpr Dynamic8 make(const CodebookTable<8>& book) {
  Dynamic8 table = {};
  std::uint32_t code = 0;
  const auto entry = [&](float lowest, float highest) {  // of a bucket above the one before
    while (code < 255 && lowest >= book.threshold[code + 1]) ++code;
    if (code == 255 || highest < book.threshold[code + 1]) return 0xffff0000u | code;
    const auto place = std::bit_cast<std::uint32_t>(book.threshold[code + 1]) ^ (lowest < 0 ? 0xffffffffu : 0u);
    return ((place & 0xffffu) - 1) << 16 | code;
  };
  const auto bound = [](std::uint32_t bucket, std::uint32_t low) {
    return std::bit_cast<float>((Dynamic8::first_bucket + bucket) << 16 | low);
  };
  constexpr std::uint32_t last = Dynamic8::buckets - 1;
  table.entry[Dynamic8::buckets + last] = 0xffff0000u;  // -1 and below
  for (std::uint32_t i = last; i-- > 0;) table.entry[Dynamic8::buckets + i] = entry(-bound(i, 0xffff), -bound(i, 0));
  table.entry[0] = entry(0.0f, bound(0, 0xffff));
  for (std::uint32_t i = 1; i <= last; ++i) table.entry[i] = entry(bound(i, 0), bound(i, 0xffff));
  return table;
}

}  // namespace dynamic8_detail

inline constexpr Dynamic8 dynamic8_signed = dynamic8_detail::make(dynamic_exponent<8, true, true>);
inline constexpr Dynamic8 dynamic8_unsigned = dynamic8_detail::make(dynamic_exponent<8, false, true>);

}  // namespace bittern
