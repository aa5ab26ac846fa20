// Philox4x32-10 against the known answers of its authors (Random123, tests/kat_vectors), and what bittern puts into its
// key and counter: written out here, because two runs agree on their random numbers only while nobody changes that.
#include "bittern/quant/philox.h"

#include <array>

#include "bittern/quant/stochastic.h"
#include "catch.h"

using namespace bittern;

namespace {

using Words = std::array<std::uint32_t, 4>;

Words generate(std::array<std::uint32_t, 2> key, Words counter) {
  const PhiloxBlock block = philox4x32({key[0], key[1]}, counter[0], counter[1], counter[2], counter[3]);
  return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

}  // namespace

TEST_CASE("philox: the known answers of Philox4x32-10") {
  CHECK(generate({0, 0}, {0, 0, 0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(generate({~0u, ~0u}, {~0u, ~0u, ~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  // The digits of pi.
  CHECK(generate({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE(
    "philox: the key is (seed, purpose), the counter (element / 4 low, high, step, stream), the word element % 4") {
  for (const std::uint32_t high : {0u, 1u, 0x05a308d3u}) {
    const std::uint64_t first = ((std::uint64_t{high} << 32) | 0x243f6a88u) * 4;
    const Words block = generate({17, 3}, {0x243f6a88, high, 0x13198a2e, 0x03707344});
    for (std::uint32_t i = 0; i < 4; ++i) {
      CHECK(philox({17, 3}, first + i, 0x13198a2e, 0x03707344) == block[i]);
      CHECK(philox_block({17, 3}, first + i, 0x13198a2e, 0x03707344).word[i] == block[i]);
    }
  }
}

TEST_CASE("philox: the numbers of the purposes, which checkpoints and published runs depend on") {
  const struct {
    Purpose purpose;
    std::uint32_t number;
  } rows[] = {{Purpose::init, 1},
              {Purpose::data_order, 2},
              {Purpose::weight_rounding, 3},
              {Purpose::first_moment_rounding, 4},
              {Purpose::sampling, 5},
              {Purpose::test, 6},
              {Purpose::second_moment_rounding, 7},
              {Purpose::master_rounding, 8},
              {Purpose::document_split, 9},
              {Purpose::tokenizer_sample, 10}};
  for (const auto& [purpose, number] : rows) {
    CHECK(philox_key(17, purpose).seed == 17);
    CHECK(philox_key(17, purpose).purpose == number);
  }
}

TEST_CASE("philox: a word as a uniform number keeps its upper 24 bits; a chance compares all 32") {
  CHECK(uniform(0) == 0.0f);
  CHECK(uniform(0xffu) == 0.0f);
  CHECK(uniform(0x100u) == 0x1p-24f);
  CHECK(uniform(0x80000000u) == 0.5f);
  CHECK(uniform(~0u) == 1.0f - 0x1p-24f);
  CHECK(chance(0x1p-32f, 0));
  CHECK_FALSE(chance(0x1p-32f, 1));
  CHECK(chance(0.5f, 0x7fffffffu));
  CHECK_FALSE(chance(0.5f, 0x80000000u));
  CHECK_FALSE(chance(0.0f, 0));
  CHECK_FALSE(chance(-1.0f, 0));
}
