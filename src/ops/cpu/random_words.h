// random_words: Philox words of consecutive elements, 32 blocks at a time, which vectorises: the rounds are loops
// over arrays of words.
#pragma once

#include <array>
#include <cstdint>

#include "bittern/quant/philox.h"

namespace bittern::cpu {

/// Which random numbers belong to a tensor in a step: element i of it has philox(key, i, step, stream).
struct RandomStream {
  PhiloxKey key;
  std::uint32_t step, stream;
};

/// The words of elements first, first + 1, ..., first + count - 1; at most 256: a chunk (code_rows.h).
class RandomWords {
 public:
  static constexpr std::int64_t most = 256;

  const std::uint32_t* fill(const RandomStream& stream, std::uint64_t first, std::int64_t count) {
    const std::uint64_t block = first / 4;
    const auto before = static_cast<std::int64_t>(first % 4);  // words of the first block that are not asked for
    for (std::int64_t i = 0; i < before + count; i += 4 * lanes)
      fill_lanes(stream, block + static_cast<std::uint64_t>(i / 4), words_.data() + i);
    return words_.data() + before;
  }

 private:
  static constexpr std::int64_t lanes = 32;  // a loop of 16 or less g++ unrolls before it can vectorise it

  /// philox4x32 (quant/philox.h) of blocks block .. block + lanes - 1.
  static void fill_lanes(const RandomStream& stream, std::uint64_t block, std::uint32_t* words) {
    alignas(64) std::uint32_t c0[lanes], c1[lanes], c2[lanes], c3[lanes];
#pragma omp simd
    for (std::int64_t i = 0; i < lanes; ++i) {
      const std::uint64_t number = block + static_cast<std::uint64_t>(i);
      const PhiloxBlock b = philox4x32(stream.key, static_cast<std::uint32_t>(number),
                                       static_cast<std::uint32_t>(number >> 32), stream.step, stream.stream);
      c0[i] = b.word[0];
      c1[i] = b.word[1];
      c2[i] = b.word[2];
      c3[i] = b.word[3];
    }
    for (std::int64_t i = 0; i < lanes; ++i) {
      words[4 * i] = c0[i];
      words[4 * i + 1] = c1[i];
      words[4 * i + 2] = c2[i];
      words[4 * i + 3] = c3[i];
    }
  }

  alignas(64) std::array<std::uint32_t, most + 4 * lanes> words_;
};

}  // namespace bittern::cpu
