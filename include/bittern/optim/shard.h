// A shard: consecutive rows of a parameter, which one process updates while others update the rest. A vector is one
// row.
//
// What a step needs to know of the whole tensor (a scale per tensor, means or maxima of columns, Adafactor's root mean
// square) is summed over parts of rows (row_parts.h), then over the parts in order. Shards begin where parts do and
// tell each other their numbers, so each makes the sums of the whole tensor, and codes do not depend on how many there
// are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <span>
#include <vector>

#include "bittern/row_parts.h"

namespace bittern {

/// The first row of shard `shard` of `shards`: whole parts, as evenly as these allow. Some may be empty.
inline std::int64_t shard_begin(std::int64_t rows, std::int64_t shards, std::int64_t shard) {
  const std::int64_t parts = row_parts(rows);
  return part_begin(rows, parts, parts * shard / shards);
}

/// A rule that sees the matrix needs all of it in one place: of `ranks` processes, the owner of each matrix. The dearest
/// matrix is given away first, each to the process with the least to do so far, the lower number where two are alike;
/// of matrices that cost the same the first comes first. A pure function of its arguments, so all processes agree.
inline std::vector<int> owners_of(std::span<const double> costs, int ranks) {
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return costs[i]; });
  std::vector<double> load(static_cast<std::size_t>(ranks));
  std::vector<int> owners(costs.size());
  for (const std::size_t i : order) {
    const auto least = std::ranges::min_element(load);
    *least += costs[i];
    owners[i] = static_cast<int>(least - load.begin());
  }
  return owners;
}

/// How the shards of a parameter tell each other numbers. All of them, empty ones too, make the same calls in the same
/// order.
class ShardExchange {
 public:
  virtual ~ShardExchange() = default;
  /// all (count), in the back end's memory: this shard has written `own` from `first` on; the rest becomes the others'.
  virtual void all_gather(float* all, std::int64_t first, std::int64_t own, std::int64_t count) = 0;
};

struct Shard {
  std::int64_t first_row = 0;         ///< in the whole tensor. Addresses random numbers
  std::int64_t rows = 0;              ///< of the whole tensor; 0: no shard, but all of it
  ShardExchange* exchange = nullptr;  ///< needed where the codecs or the rule need the whole tensor
};

}  // namespace bittern
