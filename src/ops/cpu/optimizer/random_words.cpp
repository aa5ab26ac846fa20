// Philox in vectors. A round is two products of 32 by 32 bits, of which both halves are needed: vpmuludq makes them
// from the lower halves of 64-bit lanes and ignores what stands in the upper ones. So each word of a block lives in the
// lower half of a lane, and rubbish above it is left to lie: six instructions a round. What the compiler makes of
// philox4x32 in a loop unpacks and packs around every product, and takes three times as long.
#include "ops/cpu/optimizer/random_words.h"

#include "ops/cpu/machine/intrinsics.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {
namespace {

using namespace philox_detail;

void blocks_portable(const RandomStream& stream, std::uint64_t first, std::int64_t blocks, std::uint32_t* words) {
  for (std::int64_t i = 0; i < blocks; ++i) {
    const PhiloxBlock block =
        philox_block(stream.key, (first + static_cast<std::uint64_t>(i)) * 4, stream.step, stream.stream);
    for (int k = 0; k < 4; ++k) words[4 * i + k] = block.word[k];
  }
}

#if defined(__x86_64__)
constexpr int vectors = 4;  // at a time: a round waits for its products longer than it works

[[gnu::target("avx512f")]] void blocks_avx512(const RandomStream& stream, std::uint64_t first, std::int64_t blocks,
                                              std::uint32_t* words) {
  const __m512i lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
  const __m512i m0 = _mm512_set1_epi64(multiplier0), m1 = _mm512_set1_epi64(multiplier1);
  const __m512i lower = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11),
                upper = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
  for (std::int64_t i = 0; i < blocks; i += 8 * vectors) {
    __m512i c0[vectors], c1[vectors], c2[vectors], c3[vectors];
    for (int k = 0; k < vectors; ++k) {
      const std::uint64_t number = first + static_cast<std::uint64_t>(i + 8 * k);
      c0[k] = _mm512_add_epi64(_mm512_set1_epi64(static_cast<long long>(number)), lane);
      c1[k] = _mm512_srli_epi64(c0[k], 32);
      c2[k] = _mm512_set1_epi64(stream.step);
      c3[k] = _mm512_set1_epi64(stream.stream);
    }
    std::uint32_t key0 = stream.key.seed, key1 = stream.key.purpose;
    for (int round = 0; round < rounds; ++round, key0 += weyl0, key1 += weyl1) {
      const __m512i k0 = _mm512_set1_epi64(key0), k1 = _mm512_set1_epi64(key1);
      for (int k = 0; k < vectors; ++k) {
        const __m512i p0 = _mm512_mul_epu32(c0[k], m0), p1 = _mm512_mul_epu32(c2[k], m1);
        // One half comes down by a shift, the other by a shuffle: they run on different ports.
        const __m512i high0 = _mm512_shuffle_epi32(p0, _MM_PERM_DDBB), high1 = _mm512_srli_epi64(p1, 32);
        c0[k] = _mm512_ternarylogic_epi64(high1, c1[k], k0, 0x96);  // a ^ b ^ c
        c1[k] = p1;
        c2[k] = _mm512_ternarylogic_epi64(high0, c3[k], k1, 0x96);
        c3[k] = p0;
      }
    }
    for (int k = 0; k < vectors; ++k) {
      const __m512i word01 = _mm512_mask_shuffle_epi32(c0[k], 0xaaaa, c1[k], _MM_PERM_CCAA);
      const __m512i word23 = _mm512_mask_shuffle_epi32(c2[k], 0xaaaa, c3[k], _MM_PERM_CCAA);
      std::uint32_t* const to = words + 4 * (i + 8 * k);
      _mm512_storeu_si512(to, _mm512_permutex2var_epi64(word01, lower, word23));
      _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi64(word01, upper, word23));
    }
  }
}

[[gnu::target("avx2")]] void blocks_avx2(const RandomStream& stream, std::uint64_t first, std::int64_t blocks,
                                         std::uint32_t* words) {
  const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
  const __m256i m0 = _mm256_set1_epi64x(multiplier0), m1 = _mm256_set1_epi64x(multiplier1);
  for (std::int64_t i = 0; i < blocks; i += 4 * vectors) {
    __m256i c0[vectors], c1[vectors], c2[vectors], c3[vectors];
    for (int k = 0; k < vectors; ++k) {
      const std::uint64_t number = first + static_cast<std::uint64_t>(i + 4 * k);
      c0[k] = _mm256_add_epi64(_mm256_set1_epi64x(static_cast<long long>(number)), lane);
      c1[k] = _mm256_srli_epi64(c0[k], 32);
      c2[k] = _mm256_set1_epi64x(stream.step);
      c3[k] = _mm256_set1_epi64x(stream.stream);
    }
    std::uint32_t key0 = stream.key.seed, key1 = stream.key.purpose;
    for (int round = 0; round < rounds; ++round, key0 += weyl0, key1 += weyl1) {
      const __m256i k0 = _mm256_set1_epi64x(key0), k1 = _mm256_set1_epi64x(key1);
      for (int k = 0; k < vectors; ++k) {
        const __m256i p0 = _mm256_mul_epu32(c0[k], m0), p1 = _mm256_mul_epu32(c2[k], m1);
        const __m256i high0 = _mm256_shuffle_epi32(p0, 0xf5), high1 = _mm256_srli_epi64(p1, 32);
        c0[k] = _mm256_xor_si256(high1, _mm256_xor_si256(c1[k], k0));
        c1[k] = p1;
        c2[k] = _mm256_xor_si256(high0, _mm256_xor_si256(c3[k], k1));
        c3[k] = p0;
      }
    }
    for (int k = 0; k < vectors; ++k) {
      const __m256i word01 = _mm256_blend_epi32(c0[k], _mm256_slli_epi64(c1[k], 32), 0xaa);
      const __m256i word23 = _mm256_blend_epi32(c2[k], _mm256_slli_epi64(c3[k], 32), 0xaa);
      const __m256i even = _mm256_unpacklo_epi64(word01, word23), odd = _mm256_unpackhi_epi64(word01, word23);
      auto* const to = reinterpret_cast<__m256i*>(words + 4 * (i + 4 * k));
      _mm256_storeu_si256(to, _mm256_permute2x128_si256(even, odd, 0x20));
      _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(even, odd, 0x31));
    }
  }
}
#endif

}  // namespace

void random_blocks(const RandomStream& stream, std::uint64_t block, std::int64_t blocks, std::uint32_t* words) {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512) return blocks_avx512(stream, block, blocks, words);
  if (isa() >= Isa::avx2) return blocks_avx2(stream, block, blocks, words);
#endif
  blocks_portable(stream, block, blocks, words);
}

}  // namespace bittern::cpu
