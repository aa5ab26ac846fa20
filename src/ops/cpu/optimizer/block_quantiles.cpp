// block_quantiles: the value below which a given part of a block's magnitudes lies. The range of values is halved again
// and again, and each time the values below its middle are counted.
// With AVX-512, four blocks are searched at once. One search alone waits for each count before it can begin the next;
// four that are independent keep the CPU busy while they wait.
#include "ops/cpu/optimizer/block_quantiles.h"

#include "bittern/quant/log_quantizer.h"
#include "ops/cpu/machine/intrinsics.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {
namespace {

#if defined(__x86_64__)
#define BITTERN_TARGET gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,popcnt")

constexpr int together = 4;

/// The quantiles of x (together, n), n a multiple of 16, p not 1. As quantile does it, step by step.
[[BITTERN_TARGET]] void quantiles_avx512(const float* x, std::int64_t n, float p, float* out) {
  const quantile_detail::Place place = quantile_detail::place(static_cast<std::int32_t>(n), p);
  std::int32_t low[together], high[together], bound[together] = {};
  __m512i largest[together];
  bool found[together] = {};
  const auto load = [=](int b, std::int64_t i) __attribute__((always_inline, target("avx512f"))) {
    return _mm512_loadu_si512(x + b * n + i);
  };
  for (int b = 0; b < together; ++b) {
    __m512i least = load(b, 0);
    largest[b] = least;
    for (std::int64_t i = 16; i < n; i += 16) {
      least = _mm512_min_epi32(least, load(b, i));
      largest[b] = _mm512_max_epi32(largest[b], load(b, i));
    }
    low[b] = _mm512_reduce_min_epi32(least);
    largest[b] = _mm512_set1_epi32(_mm512_reduce_max_epi32(largest[b]));
    high[b] = static_cast<std::int32_t>(static_cast<std::uint32_t>(_mm512_cvtsi512_si32(largest[b])) + 1u);
  }
  const auto open = [&](int b) {
    return !found[b] && static_cast<std::uint32_t>(high[b]) - static_cast<std::uint32_t>(low[b]) > 1u;
  };
  while (open(0) || open(1) || open(2) || open(3)) {
    std::int32_t below[together] = {};
    for (int b = 0; b < together; ++b) {
      if (!found[b]) bound[b] = quantile_detail::middle(low[b], high[b]);
      const __m512i at = _mm512_set1_epi32(bound[b]);
      for (std::int64_t i = 0; i < n; i += 16) below[b] += __builtin_popcount(_mm512_cmplt_epi32_mask(load(b, i), at));
    }
    for (int b = 0; b < together; ++b) {
      found[b] = below[b] == place.rank + 1;
      const bool lower = below[b] <= place.rank;
      low[b] = !found[b] && lower ? bound[b] : low[b];
      high[b] = !found[b] && !lower ? bound[b] : high[b];
    }
  }
  for (int b = 0; b < together; ++b) {
    float a = bits_float(static_cast<std::uint32_t>(low[b])), after = a;
    if (found[b]) {
      const __m512i at = _mm512_set1_epi32(bound[b]);
      __m512i lower = _mm512_set1_epi32(low[b]), upper = largest[b];
      for (std::int64_t i = 0; i < n; i += 16) {
        const __mmask16 is_below = _mm512_cmplt_epi32_mask(load(b, i), at);
        lower = _mm512_mask_max_epi32(lower, is_below, lower, load(b, i));
        upper = _mm512_mask_min_epi32(upper, static_cast<__mmask16>(~is_below), upper, load(b, i));
      }
      a = bits_float(static_cast<std::uint32_t>(_mm512_reduce_max_epi32(lower)));
      after = bits_float(static_cast<std::uint32_t>(_mm512_reduce_min_epi32(upper)));
    }
    out[b] = quantile_detail::between(a, after, place.weight);
  }
}
#undef BITTERN_TARGET
#endif

}  // namespace

void block_quantiles(const float* x, std::int64_t blocks, std::int64_t n, float p, float* out) {
  std::int64_t done = 0;
#if defined(__x86_64__)
  if (isa() >= Isa::avx512 && n % 16 == 0 && p < 1.0f)
    for (; done + together <= blocks; done += together) quantiles_avx512(x + done * n, n, p, out + done);
#endif
  simd([=] {
    for (std::int64_t b = done; b < blocks; ++b) out[b] = quantile(x + b * n, static_cast<std::int32_t>(n), p);
  });
}

}  // namespace bittern::cpu
