// Attention of one query row, for generation: a matrix-vector product with the cached keys, a softmax, one with the
// cached values; decode_tile keys at a time, so that scores never leave the first-level cache. Bound by reading the
// caches once.
#pragma once

#include "ops/cpu/attention_tiles.h"

namespace bittern::cpu::attention {
namespace {

template <class S, class E>
[[gnu::always_inline, BITTERN_TARGET]] inline float score(const float* q, const E* k, std::int64_t head_dim) {
  typename S::V sum = S::zero();
  std::int64_t d = 0;
  for (; d + S::width <= head_dim; d += S::width) sum = S::fma(S::load(q + d), S::load(k + d), sum);
  float total = S::sum(sum);
  for (; d < head_dim; ++d) total += q[d] * to_float(k[d]);
  return total;
}

/// out (N vectors) = out * decay + sum over keys of p[key] v[key]
template <class S, int N, class E>
[[gnu::always_inline, BITTERN_TARGET]] inline void add_values(float* out, float decay, const float* p, const E* v,
                                                              std::int64_t stride, std::int64_t keys) {
  typename S::V sum[N];
  for (int n = 0; n < N; ++n) sum[n] = S::mul(S::load(out + n * S::width), S::set(decay));
  for (std::int64_t key = 0; key < keys; ++key)
    for (int n = 0; n < N; ++n)
      sum[n] = S::fma(S::broadcast(p + key), S::load(v + key * stride + n * S::width), sum[n]);
  for (int n = 0; n < N; ++n) S::store(out + n * S::width, sum[n]);
}

template <class S, class E>
[[BITTERN_TARGET]] void decode(const DecodeUnit& u, const DecodeScratch& s) {
  const std::int64_t D = u.head_dim, padded = round_up(D, S::width);
  const float c = log2_e / __builtin_sqrtf(static_cast<float>(D));
  float *max = s.out + u.heads * padded, *sum = max + u.heads;
  for (std::int64_t head = 0; head < u.heads; ++head) {
    widen_row<S>(s.q + head * padded, static_cast<const E*>(u.q) + head * D, D, padded);
    for (std::int64_t d = 0; d < padded; d += S::width) S::store(s.out + head * padded + d, S::zero());
    max[head] = -infinity;
    sum[head] = 0.0f;
  }
  for (std::int64_t k0 = 0; k0 < u.keys; k0 += decode_tile) {
    const std::int64_t keys = smaller(decode_tile, u.keys - k0);
    const E* k = static_cast<const E*>(u.k) + k0 * u.k_stride;
    const E* v = static_cast<const E*>(u.v) + k0 * u.v_stride;
    for (std::int64_t head = 0; head < u.heads; ++head) {
      float most = max[head];
      for (std::int64_t key = 0; key < keys; ++key) {
        s.scores[key] = score<S>(s.q + head * padded, k + key * u.k_stride, D);
        most = s.scores[key] > most ? s.scores[key] : most;
      }
      for (std::int64_t key = keys; key < round_up(keys, S::width); ++key) s.scores[key] = -infinity;
      float first_lane[S::width];
      S::store(first_lane, S::exp2(S::set((max[head] - most) * c)));
      const float decay = first_lane[0];
      max[head] = most;
      typename S::V total = S::zero();
      for (std::int64_t key = 0; key < keys; key += S::width) {
        const typename S::V p = S::exp2(S::mul(S::sub(S::load(s.scores + key), S::set(most)), S::set(c)));
        S::store(s.scores + key, p);
        total = S::add(total, p);
      }
      sum[head] = sum[head] * decay + S::sum(total);
      float* out = s.out + head * padded;
      std::int64_t d = 0;
      for (; d + 4 * S::width <= D; d += 4 * S::width)
        add_values<S, 4>(out + d, decay, s.scores, v + d, u.v_stride, keys);
      for (; d + S::width <= D; d += S::width) add_values<S, 1>(out + d, decay, s.scores, v + d, u.v_stride, keys);
      for (; d < D; ++d) {
        out[d] *= decay;
        for (std::int64_t key = 0; key < keys; ++key) out[d] += s.scores[key] * to_float(v[key * u.v_stride + d]);
      }
    }
  }
  for (std::int64_t head = 0; head < u.heads; ++head)
    narrow_row<S>(static_cast<E*>(u.out) + head * D, s.out + head * padded, 1.0f / sum[head], D);
}

}  // namespace
}  // namespace bittern::cpu::attention
