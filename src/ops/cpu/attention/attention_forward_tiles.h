// The forward pass of one unit, for the operands M (attention_tiles.h). For each panel of queries, tile by tile of
// keys (Dao 2023, FlashAttention-2, alg. 1):
//   S^T = K Q^T      m' = max(m, S)      P^T = 2^((S - m') c)
//   l = l 2^((m - m') c) + sum P         O^T = O^T 2^((m - m') c) + V^T P^T
// with c = log2(e) / sqrt(D) (or scale log2(e)), and in the end O / l and lse = (m c + log2 l) ln 2.
#pragma once

#include "ops/cpu/attention/attention_product.h"
#include "ops/cpu/attention/attention_tiles.h"

namespace bittern::cpu::attention {
namespace {

/// Weights of one tile: scores (keys, panel) -> operand of the product with V, in place; sum += weights; sum and the
/// output so far must be scaled by decay because the maximum rose.
template <class M>
[[gnu::always_inline, BITTERN_TARGET]] inline void softmax_tile(const ForwardScratch& s, std::int64_t panel,
                                                                const float* old_max, std::int64_t keys, float c) {
  using S = typename M::S;
  using V = typename S::V;
  float* max = s.max + panel * S::panel;
  float* sum = s.sum + panel * S::panel;
  V total[2], most[2];
  for (int n = 0; n < 2; ++n) {
    const std::int64_t lane = n * S::width;
    most[n] = S::load(max + lane);
    // Subtract first: a rounded product m c would leave the largest weight off by 2^(its error), infinite for huge
    // scores.
    const V decay = S::exp2(S::mul(S::sub(S::load(old_max + lane), most[n]), S::set(c)));
    S::store(s.decay + lane, decay);
    total[n] = S::mul(S::load(sum + lane), decay);
  }
  M::weigh(s.scores, keys, c, most, total);
  for (int n = 0; n < 2; ++n) S::store(sum + n * S::width, total[n]);
}

/// What keys with numbers that are not finite in V add to the queries that see them: the product above ran with zeros
/// in their place, because its lanes include queries that must not see them, and 0 * NaN is NaN.
template <class M>
[[gnu::cold, gnu::noinline]] void add_special(const ForwardUnit& u, const ForwardScratch& s, std::int64_t panel,
                                              std::int64_t first_key, std::int64_t keys, std::int64_t first) {
  constexpr std::int64_t lanes = M::S::panel;
  for (std::int64_t key = 0; key < keys; ++key) {
    const auto* v = static_cast<const typename M::E*>(u.v) + (first_key + key) * u.v_stride;
    for (std::int64_t d = 0; d < u.head_dim; ++d) {
      const float x = to_float(v[d]);
      if (x - x == 0.0f) continue;
      float* out = s.out + (panel * round_up(u.head_dim, M::S::width) + d) * lanes;
      const std::int64_t last = smaller(lanes, first + key + u.math.window);
      for (std::int64_t lane = first + key > 0 ? first + key : 0; lane < last; ++lane)
        out[lane] += M::weight(s.scores, key, lane) * x;
    }
  }
}

template <class M>
[[BITTERN_TARGET]] void forward(const ForwardUnit& u, const ForwardScratch& s) {
  using S = typename M::S;
  using E = typename M::E;
  constexpr std::int64_t lanes = S::panel;
  const std::int64_t D = u.head_dim, words = D / M::pack, word_stride = round_up(words, S::width);
  const std::int64_t padded = round_up(D, S::width);
  const std::int64_t panels = (u.rows + lanes - 1) / lanes * u.heads, all_keys = u.position + u.first_row + u.rows;
  const ScoreMath& math = u.math;
  const float c = math.to_exponent;
  // The running maximum before the first score. A query whose window begins behind a tile's last key has only -inf there:
  // its maximum stays, and must not be -inf, for -inf - -inf is no number.
  const float no_score = math.window < all_keys ? -1e38f : -infinity;
  const std::int64_t first_tile = math.first_tile(u.position + u.first_row);

  for (std::int64_t head = 0; head < u.heads; ++head)
    prefetch_rows(static_cast<const E*>(u.q) + head * D, u.q_stride, u.first_row, u.first_row + u.rows, D);
  prefetch_rows(static_cast<const E*>(u.k), u.k_stride, first_tile, smaller(first_tile + key_tile, all_keys), D);
  prefetch_rows(static_cast<const E*>(u.v), u.v_stride, first_tile, smaller(first_tile + key_tile, all_keys), D);
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    const std::int64_t row = panel / u.heads * lanes;
    const E* q = static_cast<const E*>(u.q) + (u.first_row + row) * u.q_stride + panel % u.heads * D;
    pack_panel<M>(s.q + panel * word_stride * lanes, s.stage, q, u.q_stride, u.rows - row, D);
    for (std::int64_t lane = 0; lane < lanes; lane += S::width) {
      S::store(s.max + panel * lanes + lane, S::set(no_score));
      S::store(s.sum + panel * lanes + lane, S::zero());
    }
  }

  for (std::int64_t k0 = first_tile; k0 < all_keys; k0 += key_tile) {
    const std::int64_t keys = smaller(key_tile, all_keys - k0);
    const E* k = static_cast<const E*>(u.k) + k0 * u.k_stride;
    const E* v = static_cast<const E*>(u.v) + k0 * u.v_stride;
    for (std::int64_t key = 0; key < keys; ++key)
      M::pack_row(s.k + key * word_stride, k + key * u.k_stride, D, word_stride);
    const bool special = M::pack_left(s.v, v, u.v_stride, keys, D, padded);
    if (special) M::clear_special(s.v, M::left_words(keys, padded));

    const std::int64_t next_keys = smaller(key_tile, all_keys - k0 - keys);
    for (std::int64_t panel = 0; panel < panels; ++panel) {
      const std::int64_t from = next_keys * panel / panels, end = next_keys * (panel + 1) / panels;
      prefetch_rows(k + key_tile * u.k_stride, u.k_stride, from, end, D);
      prefetch_rows(v + key_tile * u.v_stride, u.v_stride, from, end, D);
      const std::int64_t position = u.position + u.first_row + panel / u.heads * lanes, first = k0 - position;
      const std::int64_t visible = smaller(keys, lanes - first), panels_first = math.first_tile(position);
      if (visible <= 0 || k0 < panels_first) continue;
      float old_max[lanes];
      memcpy(old_max, s.max + panel * lanes, sizeof old_max);
      product<M, false, 2>(visible, s.k, word_stride, s.q + panel * word_stride * lanes, lanes, words,
                           KeepScores<S>{s.scores, lanes, first, s.max + panel * lanes, math});
      softmax_tile<M>(s, panel, old_max, visible, c);
      product<M, true, 2>(D, s.v, padded, s.scores, lanes, (visible + M::pack - 1) / M::pack,
                          DecayAndAdd<S>{s.out + panel * padded * lanes, k0 == panels_first ? nullptr : s.decay});
      if (special) add_special<M>(u, s, panel, k0, visible, first);
    }
  }

  for (std::int64_t panel = 0; panel < panels; ++panel) {
    const std::int64_t row = panel / u.heads * lanes, head = panel % u.heads;
    const std::int64_t rows = smaller(lanes, u.rows - row);
    float lse[lanes];
    for (std::int64_t lane = 0; lane < lanes; lane += S::width) {
      const typename S::V sum = S::load(s.sum + panel * lanes + lane);
      S::store(s.decay + lane, S::div(S::set(1.0f), sum));
      const typename S::V shift = S::mul(S::load(s.max + panel * lanes + lane), S::set(c));
      S::store(lse + lane, S::mul(S::add(shift, log2<S>(sum)), S::set(ln_2)));
    }
    E* out = static_cast<E*>(u.out) + (u.first_row + row) * u.out_stride + head * D;
    store_panel<S>(out, u.out_stride, s.out + panel * padded * lanes, s.decay, rows, D);
    if (u.lse != nullptr)
      memcpy(u.lse + head * u.lse_stride + u.first_row + row, lse, static_cast<std::size_t>(rows) * sizeof(float));
  }
}

}  // namespace
}  // namespace bittern::cpu::attention
