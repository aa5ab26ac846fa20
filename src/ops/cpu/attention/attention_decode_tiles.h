// Attention of one query row, for generation: a matrix-vector product with the cached keys, a softmax, one with the
// cached values; decode_tile keys at a time, so that scores never leave the first-level cache. Bound by reading the
// caches once: heads that share keys and values go through them four at a time.
#pragma once

#include "ops/cpu/attention/attention_tiles.h"

namespace bittern::cpu::attention {
namespace {

constexpr std::int64_t rows_ahead = 16;  // rows of one head lie apart, which the hardware's prefetcher does not follow

/// scores (H, decode_tile) of H heads: q (H, D') k^T
template <class S, int H, class E>
[[gnu::always_inline, BITTERN_TARGET]] inline void score_keys(float* scores, const float* q, std::int64_t padded,
                                                              const E* k, std::int64_t stride, std::int64_t keys,
                                                              std::int64_t head_dim) {
  for (std::int64_t key = 0; key < keys; ++key, k += stride) {
    prefetch_rows(k, stride, rows_ahead, rows_ahead + 1, head_dim);
    typename S::V sum[H];
    for (int h = 0; h < H; ++h) sum[h] = S::zero();
    std::int64_t d = 0;
    for (; d + S::width <= head_dim; d += S::width) {
      const typename S::V x = S::load(k + d);
      for (int h = 0; h < H; ++h) sum[h] = S::fma(S::load(q + h * padded + d), x, sum[h]);
    }
    for (int h = 0; h < H; ++h) {
      float total = S::sum(sum[h]);
      for (std::int64_t i = d; i < head_dim; ++i) total += q[h * padded + i] * to_float(k[i]);
      scores[h * decode_tile + key] = total;
    }
  }
}

/// scores -> capped scores; what lies behind the last up to a whole vector is changed too, and read by nobody.
template <class S>
[[gnu::always_inline, BITTERN_TARGET]] inline void cap_keys(float* scores, std::int64_t keys, const ScoreMath& math) {
  for (std::int64_t key = 0; key < keys; key += S::width)
    S::store(scores + key, capped<S>(S::load(scores + key), math.cap_in, math.cap_out));
}

/// scores -> P = 2^((scores - max) c), max risen to theirs, sum = sum * decay + sum of P. Gives the decay of what was
/// before.
template <class S>
[[gnu::always_inline, BITTERN_TARGET]] inline float softmax_keys(float* scores, std::int64_t keys, float c, float& max,
                                                                 float& sum) {
  float most = max;
  for (std::int64_t key = 0; key < keys; ++key) most = scores[key] > most ? scores[key] : most;
  for (std::int64_t key = keys; key < round_up(keys, S::width); ++key) scores[key] = -infinity;
  float decay[S::width];
  S::store(decay, S::exp2(S::set((max - most) * c)));
  typename S::V total = S::zero();
  for (std::int64_t key = 0; key < keys; key += S::width) {
    const typename S::V p = S::exp2(S::mul(S::sub(S::load(scores + key), S::set(most)), S::set(c)));
    S::store(scores + key, p);
    total = S::add(total, p);
  }
  max = most;
  sum = sum * decay[0] + S::sum(total);
  return decay[0];
}

/// out (H, N vectors) = out * decay (H) + P (H, keys) v
template <class S, int H, int N, class E>
[[gnu::always_inline, BITTERN_TARGET]] inline void add_values(float* out, std::int64_t padded, const float* decay,
                                                              const float* p, const E* v, std::int64_t stride,
                                                              std::int64_t keys) {
  typename S::V sum[H][N];
  for (int h = 0; h < H; ++h)
    for (int n = 0; n < N; ++n) sum[h][n] = S::mul(S::load(out + h * padded + n * S::width), S::set(decay[h]));
  for (std::int64_t key = 0; key < keys; ++key) {
    prefetch_rows(v, stride, key + rows_ahead, key + rows_ahead + 1, N * S::width);
    for (int n = 0; n < N; ++n) {
      const typename S::V x = S::load(v + key * stride + n * S::width);
      for (int h = 0; h < H; ++h) sum[h][n] = S::fma(S::broadcast(p + h * decode_tile + key), x, sum[h][n]);
    }
  }
  for (int h = 0; h < H; ++h)
    for (int n = 0; n < N; ++n) S::store(out + h * padded + n * S::width, sum[h][n]);
}

/// H heads against one tile of keys.
template <class S, int H, class E>
[[gnu::always_inline, BITTERN_TARGET]] inline void decode_heads(const DecodeUnit& u, const DecodeScratch& s,
                                                                std::int64_t head, const E* k, const E* v,
                                                                std::int64_t keys) {
  constexpr int N = H == 1 ? 4 : 2;  // 4 to 8 sums, for latency
  const std::int64_t D = u.head_dim, padded = round_up(D, S::width);
  score_keys<S, H>(s.scores, s.q + head * padded, padded, k, u.k_stride, keys, D);
  if (u.math.cap_out > 0.0f)
    for (int h = 0; h < H; ++h) cap_keys<S>(s.scores + h * decode_tile, keys, u.math);
  float decay[H];
  for (int h = 0; h < H; ++h)
    decay[h] = softmax_keys<S>(s.scores + h * decode_tile, keys, u.math.to_exponent, s.max[head + h], s.sum[head + h]);
  float* out = s.out + head * padded;
  std::int64_t d = 0;
  for (; d + N * S::width <= D; d += N * S::width)
    add_values<S, H, N>(out + d, padded, decay, s.scores, v + d, u.v_stride, keys);
  for (; d + S::width <= D; d += S::width)
    add_values<S, H, 1>(out + d, padded, decay, s.scores, v + d, u.v_stride, keys);
  for (; d < D; ++d)
    for (int h = 0; h < H; ++h) {
      float sum = out[h * padded + d] * decay[h];
      for (std::int64_t key = 0; key < keys; ++key)
        sum += s.scores[h * decode_tile + key] * to_float(v[key * u.v_stride + d]);
      out[h * padded + d] = sum;
    }
}

template <class S, class E>
[[BITTERN_TARGET]] void decode(const DecodeUnit& u, const DecodeScratch& s) {
  const std::int64_t D = u.head_dim, padded = round_up(D, S::width);
  for (std::int64_t head = 0; head < u.heads; ++head) {
    widen_row<S>(s.q + head * padded, static_cast<const E*>(u.q) + head * D, D, padded);
    for (std::int64_t d = 0; d < padded; d += S::width) S::store(s.out + head * padded + d, S::zero());
    s.max[head] = -infinity;
    s.sum[head] = 0.0f;
  }
  for (std::int64_t k0 = 0; k0 < u.keys; k0 += decode_tile) {
    const std::int64_t keys = smaller(decode_tile, u.keys - k0);
    const E* k = static_cast<const E*>(u.k) + k0 * u.k_stride;
    const E* v = static_cast<const E*>(u.v) + k0 * u.v_stride;
    std::int64_t head = 0;
    for (; head + decode_heads_together <= u.heads; head += decode_heads_together)
      decode_heads<S, decode_heads_together>(u, s, head, k, v, keys);
    for (; head < u.heads; ++head) decode_heads<S, 1>(u, s, head, k, v, keys);
  }
  for (std::int64_t head = 0; head < u.heads; ++head)
    narrow_row<S>(static_cast<E*>(u.out) + head * D, s.out + head * padded, 1.0f / s.sum[head], D);
}

}  // namespace
}  // namespace bittern::cpu::attention
