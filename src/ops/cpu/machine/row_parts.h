// How work over the rows of a matrix is cut, by its shape alone, so that bits do not depend on threads.
//
// A sum over rows (the gradient of a norm's weight, of a bias) is made in row_parts(rows) partial sums
// (bittern/row_parts.h), each over consecutive rows in order, and add_parts then adds these in order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "bittern/row_parts.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {

/// Parts for work without sums: about 16 K elements each (a few microseconds), at least a row, at most 256.
inline std::int64_t even_parts(std::int64_t rows, std::int64_t cols) {
  return std::clamp<std::int64_t>(rows * cols / 16384, 1, std::clamp<std::int64_t>(rows, 1, 256));
}

/// body(first, last) or body(first, last, worker) on consecutive ranges [first, last) of [0, rows), shared between
/// threads.
template <class F>
void for_row_ranges(std::int64_t rows, std::int64_t parts, F body) {
  parallel_for(parts, [&](std::int64_t part, int worker) {
    const std::int64_t first = part_begin(rows, parts, part), last = part_begin(rows, parts, part + 1);
    if constexpr (std::is_invocable_v<F&, std::int64_t, std::int64_t, int>)
      body(first, last, worker);
    else
      body(first, last);
  });
}

/// out (cols) += the sum over parts of partial (parts, cols), added in the order of parts.
inline void add_parts(float* out, const float* partial, std::int64_t parts, std::int64_t cols) {
  constexpr std::int64_t block = 256;
  parallel_for((cols + block - 1) / block, [=](std::int64_t b) {
    const std::int64_t first = b * block, count = std::min(block, cols - first);
    simd([=] {
      float sum[block] = {};
      for (std::int64_t part = 0; part < parts; ++part) {
        const float* row = partial + part * cols + first;
        for (std::int64_t i = 0; i < count; ++i) sum[i] += row[i];
      }
      for (std::int64_t i = 0; i < count; ++i) out[first + i] += sum[i];
    });
  });
}

}  // namespace bittern::cpu
