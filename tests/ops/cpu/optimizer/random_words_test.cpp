// random_words: on every instruction set the words of quant/philox.h, at their addresses.
#include "ops/cpu/optimizer/random_words.h"

#include "catch.h"
#include "ops/every_isa.h"

using namespace bittern;
using namespace bittern::cpu;

TEST_CASE("random_words: element i has word i % 4 of block i / 4, wherever a run begins and ends") {
  const RandomStream stream{philox_key(0xfedcba98u, Purpose::test), 123456789u, 0x87654321u};
  on_every_isa([&] {
    RandomWords words;
    // The last begins four blocks below 2^32: the block's number is two words of the counter.
    for (const std::uint64_t first : {0ull, 1ull, 6ull, 1000003ull, 0x3fffffff0ull})
      for (const std::int64_t count : {1, 127, 128, 253, 256}) {
        const std::uint32_t* const word = words.fill(stream, first, count);
        std::int64_t wrong = 0;
        for (std::int64_t i = 0; i < count; ++i)
          wrong += word[i] != philox(stream.key, first + static_cast<std::uint64_t>(i), stream.step, stream.stream);
        CHECK(wrong == 0);
      }
  });
}
