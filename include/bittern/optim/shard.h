// A shard: consecutive rows of a parameter, which one process updates while others update the rest.
//
// What a step needs to know of the whole tensor (a scale per tensor, the means or maxima of columns, Adafactor's root mean
// square) is summed over parts of rows and then over the parts in order. Shards begin where parts do and tell each other
// their parts' numbers, so every shard makes the sums of the whole tensor, and the codes do not depend on how many there are.
#pragma once

#include <algorithm>
#include <cstdint>

namespace bittern {

/// Parts for sums over rows: 32 rows a part, at most 64 parts. Enough for the threads of a large machine, few enough to add
/// up for nothing.
inline std::int64_t row_parts(std::int64_t rows) {
  return std::clamp<std::int64_t>((rows + 31) / 32, 1, 64);
}

/// The first row of part `part` of `parts`.
inline std::int64_t part_begin(std::int64_t rows, std::int64_t parts, std::int64_t part) {
  return rows * part / parts;
}

/// The first row of shard `shard` of `shards`, whole parts, as evenly as these allow. A tensor of few rows has empty shards.
inline std::int64_t shard_begin(std::int64_t rows, std::int64_t shards, std::int64_t shard) {
  const std::int64_t parts = row_parts(rows);
  return part_begin(rows, parts, parts * shard / shards);
}

/// How the shards of a parameter tell each other numbers. All of them make the same calls in the same order.
class ShardExchange {
 public:
  virtual ~ShardExchange() = default;
  /// all (count), in the back end's memory: this shard has written [first, first + own); the rest becomes the others'.
  virtual void all_gather(float* all, std::int64_t first, std::int64_t own, std::int64_t count) = 0;
};

struct Shard {
  std::int64_t first_row = 0;         ///< in the whole tensor. Addresses random numbers
  std::int64_t rows = 0;              ///< of the whole tensor; 0: this is it
  ShardExchange* exchange = nullptr;  ///< needed where the codecs or the rule need the whole tensor
};

}  // namespace bittern
