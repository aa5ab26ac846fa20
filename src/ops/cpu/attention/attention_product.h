// The matrix product of the attention kernels: a block of sums in registers over packed words (attention_tiles.h), and
// what is done with each block when it is finished.
#pragma once

#include <cstdint>

#include "ops/cpu/attention/attention_tiles.h"

namespace bittern::cpu::attention {
namespace {

template <class S, int R, int N>
struct Block {
  typename S::V at[R][N];
};

/// sum (R,N vectors) = A (R, depth) B (depth, N vectors). A's element (r,k) lies at r * lda + k, or with Columns at
/// k * lda + r; B's row k at k * ldb.
template <class M, bool Columns, int R, int N>
[[gnu::always_inline, BITTERN_TARGET]] inline void multiply(Block<typename M::S, R, N>& sum, const float* a,
                                                            std::int64_t lda, const float* b, std::int64_t ldb,
                                                            std::int64_t depth) {
  using S = typename M::S;
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) sum.at[r][n] = S::zero();
  for (std::int64_t k = 0; k < depth; ++k) {
    typename S::V right[N];
    for (int n = 0; n < N; ++n) right[n] = S::load(b + n * S::width);
    for (int r = 0; r < R; ++r) {
      const typename S::V left = S::broadcast(a + (Columns ? r : r * lda));
      for (int n = 0; n < N; ++n) sum.at[r][n] = M::madd(sum.at[r][n], left, right[n]);
    }
    a += Columns ? lda : 1;
    b += ldb;
  }
}

template <class M, bool Columns, int R, int N, class Finish>
[[gnu::always_inline, BITTERN_TARGET]] inline void product_block(std::int64_t row, std::int64_t rows, const float* a,
                                                                 std::int64_t lda, const float* b, std::int64_t ldb,
                                                                 std::int64_t depth, const Finish& finish) {
  if (rows == R) {
    Block<typename M::S, R, N> sum;
    multiply<M, Columns, R, N>(sum, a + row * (Columns ? 1 : lda), lda, b, ldb, depth);
    finish.template operator()<R, N>(sum, row);
  } else if constexpr (R > 1) {
    product_block<M, Columns, R - 1, N>(row, rows, a, lda, b, ldb, depth, finish);
  }
}

template <class S, int R, int N, class Finish>
[[gnu::always_inline, BITTERN_TARGET]] inline void finish_rows(const float* sums, std::int64_t row,
                                                               const Finish& finish) {
  Block<S, R, N> sum;
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) sum.at[r][n] = S::load(sums + r * S::panel + n * S::width);
  finish.template operator()<R, N>(sum, row);
}

/// product() for operands M that multiply many rows at a time, into memory (AMX).
template <class M, bool Columns, int N, class Finish>
[[gnu::always_inline, BITTERN_TARGET]] inline void product_in_tiles(std::int64_t rows, const float* a, std::int64_t lda,
                                                                    const float* b, std::int64_t ldb,
                                                                    std::int64_t depth, const Finish& finish) {
  using S = typename M::S;
  alignas(64) float sums[M::rows_together * S::panel];
  for (std::int64_t first = 0; first < rows; first += M::rows_together) {
    const std::int64_t count = smaller(M::rows_together, rows - first);
    M::template multiply<Columns, N>(sums, first, count, a, lda, b, ldb, depth);
    std::int64_t row = 0;
    for (; row + 8 <= count; row += 8) finish_rows<S, 8, N>(sums + row * S::panel, first + row, finish);
    for (; row < count; ++row) finish_rows<S, 1, N>(sums + row * S::panel, first + row, finish);
  }
}

/// A (rows, depth) B (depth, N vectors), in blocks of rows as equal as can be; finish(sum, first row) disposes of each.
template <class M, bool Columns, int N, class Finish>
[[gnu::noinline, BITTERN_TARGET]] void product(std::int64_t rows, const float* a, std::int64_t lda, const float* b,
                                               std::int64_t ldb, std::int64_t depth, const Finish& finish) {
  if constexpr (M::rows_together > 0) {
    product_in_tiles<M, Columns, N>(rows, a, lda, b, ldb, depth, finish);
  } else {
    constexpr int most = Columns ? M::S::column_rows : M::S::row_rows;
    const std::int64_t blocks = (rows + most - 1) / most;
    std::int64_t row = 0;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t end = rows * (block + 1) / blocks;
      product_block<M, Columns, most, N>(row, end - row, a, lda, b, ldb, depth, finish);
      row = end;
    }
  }
}

/// Finish: scores of keys (rows) for the queries of a panel (lanes), capped if there is a cap. Lane i sees the row r if
/// first + r <= i < first + r + window; others get -inf, whatever the key holds. With `max`, it becomes the maximum of
/// itself and the scores.
template <class S>
struct KeepScores {
  float* scores;
  std::int64_t stride, first;
  float* max;
  const ScoreMath& math;

  template <int R, int N>
  [[gnu::always_inline, BITTERN_TARGET]] inline void operator()(Block<S, R, N>& sum, std::int64_t row) const {
    if (math.cap_out > 0.0f) {
      for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) sum.at[r][n] = capped<S>(sum.at[r][n], math.cap_in, math.cap_out);
    }
    if (first + row + R - 1 > 0) {
      for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n)
          sum.at[r][n] = S::keep_from(first + row + r - n * S::width, sum.at[r][n], S::set(-infinity));
    }
    if (first + row + math.window < S::panel) {
      for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n)
          sum.at[r][n] = S::keep_from(first + row + r + math.window - n * S::width, S::set(-infinity), sum.at[r][n]);
    }
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) S::store(scores + (row + r) * stride + n * S::width, sum.at[r][n]);
    if (max == nullptr) return;
    for (int n = 0; n < N; ++n) {
      typename S::V most = S::load(max + n * S::width);
      for (int r = 0; r < R; ++r) most = S::max(sum.at[r][n], most);
      S::store(max + n * S::width, most);
    }
  }
};

/// Finish: to = sum, or to += sum with `accumulate`.
template <class S>
struct Add {
  float* to;
  std::int64_t stride;
  bool accumulate;

  template <int R, int N>
  [[gnu::always_inline, BITTERN_TARGET]] inline void operator()(Block<S, R, N>& sum, std::int64_t row) const {
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) {
        float* at = to + (row + r) * stride + n * S::width;
        S::store(at, accumulate ? S::add(S::load(at), sum.at[r][n]) : sum.at[r][n]);
      }
  }
};

/// Finish: to = to * decay + sum, decay (lanes of the panel); to = sum where decay is null.
template <class S>
struct DecayAndAdd {
  float* to;
  const float* decay;

  template <int R, int N>
  [[gnu::always_inline, BITTERN_TARGET]] inline void operator()(Block<S, R, N>& sum, std::int64_t row) const {
    for (int n = 0; n < N; ++n) {
      const typename S::V factor = decay == nullptr ? S::zero() : S::load(decay + n * S::width);
      for (int r = 0; r < R; ++r) {
        float* at = to + (row + r) * S::panel + n * S::width;
        S::store(at, decay == nullptr ? sum.at[r][n] : S::fma(S::load(at), factor, sum.at[r][n]));
      }
    }
  }
};

}  // namespace
}  // namespace bittern::cpu::attention
