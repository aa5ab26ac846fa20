// What the attention kernels are made of: packing, a register-tiled product, exp2 and log2, for one instruction set S.
//
// Included by attention_ISA.cpp after it has defined BITTERN_TARGET, the attribute that lets a function use the
// instruction set. Everything here has internal linkage, so no instantiation for a new CPU can reach an old one.
//
// Operands are arrays of 32-bit *words*. With Fma a word is one f32 along the reduction; with Dot it is two consecutive
// bf16, the lower one in the low half. The two differ only in packing and in the instruction that multiplies.
#pragma once

#include <cstdint>
#include <cstring>

#include "bittern/quant/bf16.h"
#include "ops/cpu/attention.h"

namespace bittern::cpu::attention {
namespace {

constexpr float log2_e = 1.44269504f, ln_2 = 0.693147181f, infinity = __builtin_inff();

constexpr std::int64_t smaller(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

/// 2^f on [0, 1], 2^0 exactly 1. Minimax fit of our own (Lawson's iteration), relative error 8e-8.
template <class S>
[[gnu::always_inline, BITTERN_TARGET]] inline typename S::V exp2_fraction(typename S::V f) {
  typename S::V p = S::set(0.00186713007f);
  p = S::fma(p, f, S::set(0.00901703032f));
  p = S::fma(p, f, S::set(0.0557999131f));
  p = S::fma(p, f, S::set(0.24016445f));
  p = S::fma(p, f, S::set(0.693151312f));
  return S::fma(p, f, S::set(1.0f));
}

/// log2 of positive normal numbers, absolute error about 2e-7 + 1 ulp: the exponent and mantissa bits read as a number
/// are within 0.09 of it; the rest r = x / 2^guess - 1 is small enough for six terms of the series.
template <class S>
[[gnu::always_inline, BITTERN_TARGET]] inline typename S::V log2(typename S::V x) {
  using V = typename S::V;
  const V guess = S::fma(S::bits_as_number(x), S::set(0x1p-23f), S::set(-127.0f));
  const V r = S::fma(x, S::exp2(S::sub(S::zero(), guess)), S::set(-1.0f));
  V p = S::set(log2_e / -6.0f);
  p = S::fma(p, r, S::set(log2_e / 5.0f));
  p = S::fma(p, r, S::set(log2_e / -4.0f));
  p = S::fma(p, r, S::set(log2_e / 3.0f));
  p = S::fma(p, r, S::set(log2_e / -2.0f));
  p = S::fma(p, r, S::set(log2_e));
  return S::fma(p, r, guess);
}

/// P = 2^(score c - lse), never above 1: an lse of huge scores is off by its rounding.
template <class S>
[[gnu::always_inline, BITTERN_TARGET]] inline typename S::V weight_of(typename S::V score, float c, typename S::V lse) {
  return S::exp2(S::min(S::zero(), S::fma(score, S::set(c), S::sub(S::zero(), lse))));
}

// ---- packing

/// to (padded) = from (count) as f32, zeros after it. Says whether a number was not finite.
template <class S, class E>
[[gnu::always_inline, BITTERN_TARGET]] inline bool widen_row(float* to, const E* from, std::int64_t count,
                                                             std::int64_t padded) {
  typename S::V difference = S::zero();  // x - x: 0, or NaN where x is not finite
  std::int64_t i = 0;
  for (; i + S::width <= count; i += S::width) {
    const typename S::V x = S::load(from + i);
    S::store(to + i, x);
    difference = S::add(difference, S::sub(x, x));
  }
  float rest = S::sum(difference);
  for (; i < count; ++i) {
    to[i] = to_float(from[i]);
    rest += to[i] - to[i];
  }
  for (; i < padded; ++i) to[i] = 0.0f;
  return !(rest == 0.0f);
}

template <class S, class E>
[[gnu::always_inline, BITTERN_TARGET]] inline void narrow_row(E* to, const float* from, float scale,
                                                              std::int64_t count) {
  std::int64_t i = 0;
  for (; i + S::width <= count; i += S::width) S::store(to + i, S::mul(S::load(from + i), S::set(scale)));
  for (; i < count; ++i) to[i] = from_float<E>(from[i] * scale);
}

/// to (words, panel) = from (panel, stride)^T; words are rounded up to whole vectors on both sides.
template <class S>
[[gnu::always_inline, BITTERN_TARGET]] inline void transpose_panel(float* to, const float* from, std::int64_t words,
                                                                   std::int64_t stride) {
  for (std::int64_t lane = 0; lane < S::panel; lane += S::width)
    for (std::int64_t w = 0; w < words; w += S::width) {
      typename S::V block[S::width];
      for (int r = 0; r < S::width; ++r) block[r] = S::load(from + (lane + r) * stride + w);
      S::transpose(block);
      for (int r = 0; r < S::width; ++r) S::store(to + (w + r) * S::panel + lane, block[r]);
    }
}

/// to[lane] (D) = scale[lane] * from (D', panel)^T for the first `rows` lanes.
template <class S, class E>
[[gnu::always_inline, BITTERN_TARGET]] inline void store_panel(E* to, std::int64_t stride, const float* from,
                                                               const float* scale, std::int64_t rows,
                                                               std::int64_t head_dim) {
  for (std::int64_t lane = 0; lane < rows; lane += S::width) {
    const typename S::V factor = S::load(scale + lane);
    for (std::int64_t d = 0; d < head_dim; d += S::width) {
      typename S::V block[S::width];
      for (int r = 0; r < S::width; ++r) block[r] = S::mul(S::load(from + (d + r) * S::panel + lane), factor);
      S::transpose(block);
      const std::int64_t count = smaller(S::width, rows - lane);
      if (d + S::width <= head_dim) {
        for (int r = 0; r < S::width; ++r)
          if (r < count) S::store(to + (lane + r) * stride + d, block[r]);
      } else {
        for (int r = 0; r < S::width; ++r) {
          float row[S::width];
          S::store(row, block[r]);
          if (r < count)
            for (std::int64_t i = d; i < head_dim; ++i) to[(lane + r) * stride + i] = from_float<E>(row[i - d]);
        }
      }
    }
  }
}

// ---- products

/// Words are single f32. E: element type of the tensors.
template <class Isa, class Element>
struct Fma {
  using S = Isa;
  using E = Element;
  using V = typename S::V;
  static constexpr std::int64_t pack = 1;

  [[gnu::always_inline, BITTERN_TARGET]] static inline V madd(V sum, V a, V b) { return S::fma(a, b, sum); }

  /// Words along the head dimension: the operand of S = K Q^T and dP = V dO^T.
  [[gnu::always_inline, BITTERN_TARGET]] static inline void pack_row(float* to, const E* from, std::int64_t head_dim,
                                                                     std::int64_t padded) {
    widen_row<S>(to, from, head_dim, padded);
  }
  /// Words along the rows, `count` of them (zeros up to `rows`): the operand whose reduction runs over keys or queries.
  [[gnu::always_inline, BITTERN_TARGET]] static inline bool pack_columns(float* to, const E* from, std::int64_t stride,
                                                                         std::int64_t count, std::int64_t rows,
                                                                         std::int64_t head_dim, std::int64_t padded) {
    bool special = false;
    for (std::int64_t r = 0; r < count; ++r)
      special |= widen_row<S>(to + r * padded, from + r * stride, head_dim, padded);
    memset(to + count * padded, 0, static_cast<std::size_t>((rows - count) * padded) * sizeof(float));
    return special;
  }
  /// Zeros in place of what is not finite.
  static void clear_special(float* words, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
      if (words[i] - words[i] != 0.0f) words[i] = 0.0f;
  }
  /// P of one key and lane, as weigh() left it.
  static float weight(const float* p, std::int64_t key, std::int64_t lane) { return p[key * S::panel + lane]; }

  /// scores (keys, panel) -> P = 2^((scores - max) c), in place; total += P
  [[gnu::always_inline, BITTERN_TARGET]] static inline void weigh(float* scores, std::int64_t keys, float c,
                                                                  const V (&max)[2], V (&total)[2]) {
    for (std::int64_t key = 0; key < keys; ++key)
      for (int n = 0; n < 2; ++n) {
        float* at = scores + key * S::panel + n * S::width;
        const V p = S::exp2(S::mul(S::sub(S::load(at), max[n]), S::set(c)));
        total[n] = S::add(total[n], p);
        S::store(at, p);
      }
  }

  /// P and dS of one panel, from scores and dP in s.stage, into the panel's columns of s.p and s.ds (keys, width).
  [[gnu::always_inline, BITTERN_TARGET]] static inline void differentiate(const BackwardScratch& s, std::int64_t panel,
                                                                          std::int64_t width, std::int64_t keys,
                                                                          float c) {
    V lse[2], delta[2];
    for (int n = 0; n < 2; ++n) {
      lse[n] = S::load(s.lse + panel * S::panel + n * S::width);
      delta[n] = S::load(s.delta + panel * S::panel + n * S::width);
    }
    const float* dp = s.stage + key_tile * S::panel;
    for (std::int64_t key = 0; key < keys; ++key)
      for (int n = 0; n < 2; ++n) {
        const std::int64_t from = key * S::panel + n * S::width, to = key * width + panel * S::panel + n * S::width;
        const V p = weight_of<S>(S::load(s.stage + from), c, lse[n]);
        S::store(s.p + to, p);
        S::store(s.ds + to, S::mul(p, S::sub(S::load(dp + from), delta[n])));
      }
  }
  /// dS as the operand whose reduction runs over keys.
  static const float* ds_columns(const BackwardScratch& s) { return s.ds; }
};

/// to (words, panel) = the first `rows` rows of a head, transposed; other lanes zero.
template <class M>
[[gnu::always_inline, BITTERN_TARGET]] inline void pack_panel(float* to, float* stage, const typename M::E* from,
                                                              std::int64_t stride, std::int64_t rows,
                                                              std::int64_t head_dim) {
  using S = typename M::S;
  const std::int64_t words = head_dim / M::pack, word_stride = round_up(words, S::width);
  for (std::int64_t lane = 0; lane < S::panel; ++lane) {
    if (lane < rows)
      M::pack_row(stage + lane * word_stride, from + lane * stride, head_dim, word_stride);
    else
      memset(stage + lane * word_stride, 0, static_cast<std::size_t>(word_stride) * sizeof(float));
  }
  transpose_panel<S>(to, stage, words, word_stride);
}

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

/// A (rows, depth) B (depth, N vectors), in blocks of rows as equal as can be; finish(sum, first row) disposes of each.
template <class M, bool Columns, int N, class Finish>
[[gnu::noinline, BITTERN_TARGET]] void product(std::int64_t rows, const float* a, std::int64_t lda, const float* b,
                                               std::int64_t ldb, std::int64_t depth, const Finish& finish) {
  constexpr int most = Columns ? M::S::column_rows : M::S::row_rows;
  const std::int64_t blocks = (rows + most - 1) / most;
  std::int64_t row = 0;
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t end = rows * (block + 1) / blocks;
    product_block<M, Columns, most, N>(row, end - row, a, lda, b, ldb, depth, finish);
    row = end;
  }
}

/// Finish: scores of keys (rows) for the queries of a panel (lanes). Lane i sees the row r if i >= first + r; others
/// get -inf, whatever the key holds. With `max`, it becomes the maximum of itself and the scores.
template <class S>
struct KeepScores {
  float* scores;
  std::int64_t stride, first;
  float* max;

  template <int R, int N>
  [[gnu::always_inline, BITTERN_TARGET]] inline void operator()(Block<S, R, N>& sum, std::int64_t row) const {
    if (first + row + R - 1 > 0) {
      for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n)
          sum.at[r][n] = S::keep_from(first + row + r - n * S::width, sum.at[r][n], S::set(-infinity));
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
