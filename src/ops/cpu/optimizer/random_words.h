// random_words: the Philox words (quant/philox.h) of consecutive elements, a chunk at a time.
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

/// words (4 * blocks) = the blocks block, block + 1, ..., one after the other. `blocks` is a multiple of 32.
void random_blocks(const RandomStream& stream, std::uint64_t block, std::int64_t blocks, std::uint32_t* words);

/// The words of elements first, first + 1, ..., first + count - 1; at most 256: a chunk (code_rows.h).
class RandomWords {
 public:
  static constexpr std::int64_t most = 256;

  const std::uint32_t* fill(const RandomStream& stream, std::uint64_t first, std::int64_t count) {
    const auto before = static_cast<std::int64_t>(first % 4);  // words of the first block that are not asked for
    const std::int64_t blocks = (before + count + 127) / 128 * 32;
    random_blocks(stream, first / 4, blocks, words_.data());
    return words_.data() + before;
  }

 private:
  alignas(64) std::array<std::uint32_t, most + 128> words_;
};

}  // namespace bittern::cpu
