// How a sum over the rows of a matrix is cut: into partial sums over parts of consecutive rows, by the shape alone, which
// are then added in order. So bits depend neither on threads nor on shards.
#pragma once

#include <cstdint>

#include "bittern/host_device.h"

namespace bittern {

/// 32 rows a part, at most 64 parts: enough for the threads of a large machine, few enough to add up for nothing.
BITTERN_HD std::int64_t row_parts(std::int64_t rows) {
  const std::int64_t parts = (rows + 31) / 32;
  return parts < 1 ? 1 : parts > 64 ? 64 : parts;
}

/// The first row of part `part` of `parts`.
BITTERN_HD std::int64_t part_begin(std::int64_t rows, std::int64_t parts, std::int64_t part) {
  return rows * part / parts;
}

/// The part of `rows` rows that begins at `row`, their number for the end, or -1.
inline std::int64_t part_at(std::int64_t rows, std::int64_t row) {
  const std::int64_t parts = row_parts(rows);
  for (std::int64_t part = 0; part <= parts; ++part)
    if (part_begin(rows, parts, part) == row) return part;
  return -1;
}

}  // namespace bittern
