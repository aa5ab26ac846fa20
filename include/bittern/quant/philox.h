// Philox4x32-10 (Salmon et al., SC'11): random numbers that are addressed, not drawn.
//
// Key (seed, purpose), counter (index / 4 as two words, step, stream); the word is index % 4. So the number of an
// element depends on nothing but its address: not on threads, shards, launch shape or back end.
#pragma once

#include <cstdint>

#include "bittern/host_device.h"

namespace bittern {

/// What a random number is for. Two purposes never share numbers.
enum class Purpose : std::uint32_t {
  init = 1,
  data_order = 2,
  weight_rounding = 3,
  first_moment_rounding = 4,
  sampling = 5,
  test = 6,
  second_moment_rounding = 7,
  master_rounding = 8,
  document_split = 9,
  tokenizer_sample = 10
};

struct PhiloxKey {
  std::uint32_t seed;
  std::uint32_t purpose;
};
struct PhiloxBlock {
  std::uint32_t word[4];
};

namespace philox_detail {

// Of the paper: what the counter's words are multiplied with, and what is added to the key after each round.
inline constexpr std::uint32_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
inline constexpr std::uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u;
inline constexpr int rounds = 10;

}  // namespace philox_detail

BITTERN_HD PhiloxBlock philox4x32(PhiloxKey key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                                  std::uint32_t c3) {
  std::uint32_t k0 = key.seed, k1 = key.purpose;
  for (int round = 0; round < philox_detail::rounds; ++round) {
    const std::uint64_t p0 = std::uint64_t{philox_detail::multiplier0} * c0;
    const std::uint64_t p1 = std::uint64_t{philox_detail::multiplier1} * c2;
    const std::uint32_t hi0 = static_cast<std::uint32_t>(p0 >> 32), lo0 = static_cast<std::uint32_t>(p0);
    const std::uint32_t hi1 = static_cast<std::uint32_t>(p1 >> 32), lo1 = static_cast<std::uint32_t>(p1);
    c0 = hi1 ^ c1 ^ k0;
    c1 = lo1;
    c2 = hi0 ^ c3 ^ k1;
    c3 = lo0;
    k0 += philox_detail::weyl0;
    k1 += philox_detail::weyl1;
  }
  return PhiloxBlock{{c0, c1, c2, c3}};
}

BITTERN_HD PhiloxKey philox_key(std::uint32_t seed, Purpose purpose) {
  return PhiloxKey{seed, static_cast<std::uint32_t>(purpose)};
}

/// The block that holds element `index` of stream `stream` (a tensor's id) at `step`.
BITTERN_HD PhiloxBlock philox_block(PhiloxKey key, std::uint64_t index, std::uint32_t step, std::uint32_t stream) {
  const std::uint64_t block = index / 4;
  return philox4x32(key, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), step, stream);
}
BITTERN_HD std::uint32_t philox(PhiloxKey key, std::uint64_t index, std::uint32_t step, std::uint32_t stream) {
  return philox_block(key, index, step, stream).word[index % 4];
}

/// A 32-bit word as a uniform number in [0, 1) with 24 bits.
BITTERN_HD float uniform(std::uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

}  // namespace bittern
