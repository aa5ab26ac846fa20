// The backward pass of one unit, for the operands M (attention_tiles.h). Per tile of keys and panel of queries:
//   P^T = 2^(S^T c - lse log2 e)    dS^T = P^T (V dO^T - delta)    dQ^T += K^T dS^T
// then over all panels at once     dV += P^T dO    dK += dS^T Q      (dQ, dK times the scale when they are stored)
// and dS times the slope of the soft cap, if there is one.
// with S^T = K Q^T recomputed and delta = sum over d of dO O           (Dao 2023, FlashAttention-2, alg. 2).
// A number that is not finite may spread to gradients of earlier tokens (0 * NaN): its own gradients are lost anyway.
#pragma once

#include "ops/cpu/attention/attention_product.h"
#include "ops/cpu/attention/attention_tiles.h"

namespace bittern::cpu::attention {
namespace {

template <class S, class E>
[[gnu::always_inline, BITTERN_TARGET]] inline float dot_rows(const E* a, const E* b, std::int64_t count) {
  typename S::V sum = S::zero();
  std::int64_t i = 0;
  for (; i + S::width <= count; i += S::width) sum = S::fma(S::load(a + i), S::load(b + i), sum);
  float total = S::sum(sum);
  for (; i < count; ++i) total += to_float(a[i]) * to_float(b[i]);
  return total;
}

/// to (rows, D') += A (rows, depth) B (depth, D')
template <class M>
[[gnu::always_inline, BITTERN_TARGET]] inline void add_product(float* to, std::int64_t rows, const float* a,
                                                               std::int64_t lda, const float* b, std::int64_t depth,
                                                               std::int64_t padded) {
  using S = typename M::S;
  std::int64_t d = 0;
  for (; d + S::panel <= padded; d += S::panel)
    product<M, false, 2>(rows, a, lda, b + d, padded, depth, Add<S>{to + d, padded, true});
  if (d < padded) product<M, false, 1>(rows, a, lda, b + d, padded, depth, Add<S>{to + d, padded, true});
}

/// Packs what the unit needs of the queries: Q, dO in both orders, lse and delta.
template <class M>
[[gnu::always_inline, BITTERN_TARGET]] inline void pack_queries(const BackwardUnit& u, const BackwardScratch& s,
                                                                std::int64_t panels) {
  using S = typename M::S;
  using E = typename M::E;
  constexpr std::int64_t lanes = S::panel;
  const std::int64_t D = u.head_dim, padded = round_up(D, S::width), word_stride = round_up(D / M::pack, S::width);
  for (std::int64_t head = 0; head < u.heads; ++head) {
    prefetch_rows(static_cast<const E*>(u.q) + head * D, u.qkv_stride, u.first_row, u.first_row + u.rows, D);
    prefetch_rows(static_cast<const E*>(u.dout) + head * D, u.dout_stride, u.first_row, u.first_row + u.rows, D);
    prefetch_rows(static_cast<const E*>(u.out) + head * D, u.out_stride, u.first_row, u.first_row + u.rows, D);
  }
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    const std::int64_t head = panel % u.heads, row = panel / u.heads * lanes, rows = smaller(lanes, u.rows - row);
    const E* q = static_cast<const E*>(u.q) + (u.first_row + row) * u.qkv_stride + head * D;
    const E* dout = static_cast<const E*>(u.dout) + (u.first_row + row) * u.dout_stride + head * D;
    const E* out = static_cast<const E*>(u.out) + (u.first_row + row) * u.out_stride + head * D;
    const std::int64_t columns = panel * lanes / M::pack * padded;
    pack_panel<M>(s.q + panel * word_stride * lanes, s.stage, q, u.qkv_stride, rows, D);
    pack_panel<M>(s.dout + panel * word_stride * lanes, s.stage, dout, u.dout_stride, rows, D);
    M::pack_columns(s.q_rows + columns, q, u.qkv_stride, rows, lanes, D, padded);
    M::pack_columns(s.dout_rows + columns, dout, u.dout_stride, rows, lanes, D, padded);
    const float* lse = u.lse + head * u.lse_stride + u.first_row + row;
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      const bool real = lane < rows;  // a lane without a query has the weight 2^-inf = 0 everywhere
      s.lse[panel * lanes + lane] = real ? lse[lane] * log2_e : infinity;
      s.delta[panel * lanes + lane] =
          real ? dot_rows<S>(dout + lane * u.dout_stride, out + lane * u.out_stride, D) : 0.0f;
    }
  }
}

template <class M>
[[BITTERN_TARGET]] void backward(const BackwardUnit& u, const BackwardScratch& s) {
  using S = typename M::S;
  using E = typename M::E;
  constexpr std::int64_t lanes = S::panel;
  static_assert(key_tile % lanes == 0, "groups of keys and panels of queries must not cut each other");
  const std::int64_t D = u.head_dim, words = D / M::pack, word_stride = round_up(words, S::width);
  const std::int64_t padded = round_up(D, S::width);
  const std::int64_t panels = (u.rows + lanes - 1) / lanes * u.heads, width = panels * lanes;
  const ScoreMath& math = u.math;
  pack_queries<M>(u, s, panels);

  const std::int64_t all_keys = u.first_row + u.rows;
  for (std::int64_t k0 = math.first_tile(u.first_row); k0 < all_keys; k0 += key_tile) {
    const std::int64_t keys = smaller(key_tile, all_keys - k0);
    const E* k = static_cast<const E*>(u.k) + k0 * u.qkv_stride;
    const E* v = static_cast<const E*>(u.v) + k0 * u.qkv_stride;
    for (std::int64_t key = 0; key < keys; ++key) {
      M::pack_row(s.k + key * word_stride, k + key * u.qkv_stride, D, word_stride);
      M::pack_row(s.v + key * word_stride, v + key * u.qkv_stride, D, word_stride);
    }
    const float* k_columns = s.k;  // with words of one number both are the same
    if constexpr (M::pack > 1) {
      M::pack_left(s.k_columns, k, u.qkv_stride, keys, D, padded);
      k_columns = s.k_columns;
    }

    const std::int64_t next_keys = smaller(key_tile, all_keys - k0 - keys);
    std::int64_t seeing = 0;  // lanes of the panels up to the last one that sees any of these keys
    for (std::int64_t panel = 0; panel < panels; ++panel) {
      const std::int64_t from = next_keys * panel / panels, end = next_keys * (panel + 1) / panels;
      prefetch_rows(k + key_tile * u.qkv_stride, u.qkv_stride, from, end, D);
      prefetch_rows(v + key_tile * u.qkv_stride, u.qkv_stride, from, end, D);
      const std::int64_t position = u.first_row + panel / u.heads * lanes, first = k0 - position;
      const std::int64_t visible = smaller(keys, lanes - first), panels_first = math.first_tile(position);
      if (visible <= 0 || k0 < panels_first) continue;
      seeing = (panel + 1) * lanes;
      float *scores = s.stage, *dp = s.stage + key_tile * lanes;
      product<M, false, 2>(visible, s.k, word_stride, s.q + panel * word_stride * lanes, lanes, words,
                           KeepScores<S>{scores, lanes, first, nullptr, math});
      product<M, false, 2>(visible, s.v, word_stride, s.dout + panel * word_stride * lanes, lanes, words,
                           Add<S>{dp, lanes, false});
      M::differentiate(s, panel, width, visible, math);
      product<M, true, 2>(D, k_columns, padded, M::ds_columns(s) + panel * lanes, width,
                          (visible + M::pack - 1) / M::pack,
                          Add<S>{s.dq + panel * padded * lanes, lanes, k0 > panels_first});
    }

    for (std::int64_t key = 0; key < keys; key += lanes) {
      const std::int64_t rows = smaller(lanes, keys - key), behind = k0 + key - u.first_row;
      const std::int64_t from = behind > 0 ? behind * u.heads : 0;  // the first lane that sees any of these keys
      const std::int64_t a = (key * width + from) / M::pack, b = from / M::pack * padded, to = (k0 + key) * padded;
      add_product<M>(u.dv + to, rows, s.p + a, width / M::pack, s.dout_rows + b, (seeing - from) / M::pack, padded);
      add_product<M>(u.dk + to, rows, s.ds + a, width / M::pack, s.q_rows + b, (seeing - from) / M::pack, padded);
    }
  }

  float factor[lanes];
  for (std::int64_t lane = 0; lane < lanes; ++lane) factor[lane] = math.scale;
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    const std::int64_t row = panel / u.heads * lanes;
    E* dq = static_cast<E*>(u.dq) + (u.first_row + row) * u.dqkv_stride + panel % u.heads * D;
    store_panel<S>(dq, u.dqkv_stride, s.dq + panel * padded * lanes, factor, smaller(lanes, u.rows - row), D);
  }
}

/// to (rows, D) = scale * from (rows, D'): a sum of dK or dV in the type of the tensors.
template <class S, class E>
[[BITTERN_TARGET]] void store_rows(void* to, std::int64_t stride, const float* from, float scale, std::int64_t rows,
                                   std::int64_t head_dim) {
  for (std::int64_t row = 0; row < rows; ++row)
    narrow_row<S>(static_cast<E*>(to) + row * stride, from + row * round_up(head_dim, S::width), scale, head_dim);
}

}  // namespace
}  // namespace bittern::cpu::attention
