// What the attention kernels are made of, for one instruction set S: exp2 and log2, packing, and what happens to scores
// between the products (attention_product.h).
//
// Included by attention_ISA.cpp after it has defined BITTERN_TARGET, the attribute that lets a function use the
// instruction set. Everything here has internal linkage, so no instantiation for a new CPU can reach an old one.
//
// Operands are arrays of 32-bit *words*. With Fma a word is one f32 along the reduction; with Dot it is two consecutive
// bf16, the lower one in the low half. The two differ only in packing and in the instruction that multiplies. Tiles has
// Dot's words and multiplies many of them at a time.
#pragma once

#include <cstdint>
#include <cstring>

#include "bittern/quant/bf16.h"
#include "ops/cpu/attention/attention.h"

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

/// cap_out tanh(cap_in x), with tanh(y) = 1 - 2 / (1 + e^2y): off by some 1e-7 of cap_out. A NaN stays one.
template <class S>
[[gnu::always_inline, BITTERN_TARGET]] inline typename S::V capped(typename S::V x, float cap_in, float cap_out) {
  const typename S::V power = S::min(S::set(126.0f), S::mul(x, S::set(2.0f * log2_e * cap_in)));
  const typename S::V rest = S::div(S::set(2.0f), S::add(S::set(1.0f), S::exp2(power)));
  return S::mul(S::sub(S::set(1.0f), rest), S::set(cap_out));
}

/// d capped / dx = 1 - tanh^2, of the capped score; 0 of one that is -inf.
template <class S>
[[gnu::always_inline, BITTERN_TARGET]] inline typename S::V slope_of_cap(typename S::V score, float cap_out) {
  const typename S::V t = S::max(S::mul(score, S::set(1.0f / cap_out)), S::set(-1.0f));
  return S::sub(S::set(1.0f), S::mul(t, t));
}

/// P = 2^(score c - lse), never above 1: an lse of huge scores is off by its rounding.
template <class S>
[[gnu::always_inline, BITTERN_TARGET]] inline typename S::V weight_of(typename S::V score, float c, typename S::V lse) {
  return S::exp2(S::min(S::zero(), S::fma(score, S::set(c), S::sub(S::zero(), lse))));
}

// ---- packing

/// Asks for rows that will be packed soon: they lie far apart in memory, where the hardware does not foresee them.
template <class E>
inline void prefetch_rows(const E* from, std::int64_t stride, std::int64_t first, std::int64_t end,
                          std::int64_t head_dim) {
  constexpr std::int64_t line = 64 / std::int64_t{sizeof(E)};
  for (std::int64_t row = first; row < end; ++row)
    for (std::int64_t d = 0; d < head_dim; d += line) __builtin_prefetch(from + row * stride + d, 0, 2);
}

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
  static constexpr std::int64_t pack = 1;           ///< elements of a word
  static constexpr std::int64_t rows_together = 0;  ///< of a product in memory; 0: products stay in registers

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
  /// The same as the left operand of a product<Columns>: V in O^T = V^T P^T and K in dQ^T = K^T dS^T.
  [[gnu::always_inline, BITTERN_TARGET]] static inline bool pack_left(float* to, const E* from, std::int64_t stride,
                                                                      std::int64_t count, std::int64_t head_dim,
                                                                      std::int64_t padded) {
    return pack_columns(to, from, stride, count, count, head_dim, padded);
  }
  static std::int64_t left_words(std::int64_t count, std::int64_t padded) { return count * padded; }
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
                                                                          const ScoreMath& math) {
    V lse[2], delta[2];
    for (int n = 0; n < 2; ++n) {
      lse[n] = S::load(s.lse + panel * S::panel + n * S::width);
      delta[n] = S::load(s.delta + panel * S::panel + n * S::width);
    }
    const float* dp = s.stage + key_tile * S::panel;
    for (std::int64_t key = 0; key < keys; ++key)
      for (int n = 0; n < 2; ++n) {
        const std::int64_t from = key * S::panel + n * S::width, to = key * width + panel * S::panel + n * S::width;
        const V score = S::load(s.stage + from), p = weight_of<S>(score, math.to_exponent, lse[n]);
        V ds = S::mul(p, S::sub(S::load(dp + from), delta[n]));
        if (math.cap_out > 0.0f) ds = S::mul(ds, slope_of_cap<S>(score, math.cap_out));
        S::store(s.p + to, p);
        S::store(s.ds + to, ds);
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

}  // namespace
}  // namespace bittern::cpu::attention
