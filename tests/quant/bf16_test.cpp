// bf16: nearest and stochastic rounding against the definition, in double precision and by counting all 2^16 words.
#include "bittern/quant/bf16.h"

#include "catch.h"
#include "quant/rounding_support.h"

using namespace bittern;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::uint32_t largest_code = 0x7f7f;  // (2 - 2^-7) 2^127

/// What a code without sign is worth by the format's definition: 8 exponent bits of bias 127, 7 of fraction. Infinity
/// as if the binade above existed, which is what rounding counts with.
double value(std::uint32_t code) {
  const int exponent = static_cast<int>(code >> 7), fraction = static_cast<int>(code & 0x7f);
  if (exponent == 0) return std::ldexp(fraction, -126 - 7);
  return std::ldexp(128 + fraction, exponent - 127 - 7);
}

/// The mean over all words, infinity counted as 2^128; exact, for it is a sum of few-bit multiples of a power of two.
double expectation(float x) {
  double sum = 0;
  for (std::uint32_t word = 0; word < 0x10000u; ++word) {
    const bf16 rounded = to_bf16_stochastic(x, word);
    const double magnitude = value(rounded.bits & 0x7fffu);
    sum += rounded.bits & 0x8000u ? -magnitude : magnitude;
  }
  return sum / 0x10000;
}

}  // namespace

TEST_CASE("bf16: every code decodes to its definition, and is a fixed point of both roundings whatever the word") {
  std::size_t wrong = 0;
  for (std::uint32_t code = 0; code <= 0x7f80u; ++code)
    for (const std::uint32_t sign : {0u, 0x8000u}) {
      const bf16 stored{static_cast<std::uint16_t>(code | sign)};
      const float x = to_float(stored);
      const double expected = code == 0x7f80u ? infinity : value(code);
      wrong += static_cast<double>(x) != (sign ? -expected : expected) || std::signbit(x) != (sign != 0);
      wrong += to_bf16(x).bits != stored.bits;
      for (const std::uint32_t word : {0u, 1u, 0x7fffu, 0x8000u, 0xffffu, ~0u})
        wrong += to_bf16_stochastic(x, word).bits != stored.bits;
    }
  CHECK(wrong == 0);
}

TEST_CASE("bf16: nearest is nearest, at every tie the even code, also between subnormals and up to infinity") {
  std::size_t wrong = 0;
  for (std::uint32_t code = 0; code <= largest_code; ++code) {
    const double low = value(code), high = value(code + 1), tie = (low + high) / 2;
    const auto at = static_cast<float>(tie);
    if (static_cast<double>(at) != tie) FAIL("a tie of bf16 is a float");
    for (const float sign : {1.0f, -1.0f}) {
      const std::uint32_t bit = sign < 0 ? 0x8000u : 0u;
      wrong += to_bf16(sign * at).bits != ((code + (code & 1u)) | bit);
      wrong += to_bf16(sign * next_down(at)).bits != (code | bit);
      wrong += to_bf16(sign * next_up(at)).bits != ((code + 1) | bit);
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("bf16: the expectation over all 2^16 words is the value itself, exactly") {
  std::vector<float> values = {1.0f + 0x1p-8f,  // a tie of nearest
                               1.0f + 0x1p-23f,
                               2.0f - 0x1p-23f,  // the upper neighbour lies in the next binade
                               0.3f,
                               -0.3f,
                               3.14159274f,
                               -1234.567f,
                               1e-20f,
                               -7.7e25f,
                               next_up(0x1p-126f),    // the smallest normal values,
                               next_down(0x1p-126f),  // subnormals,
                               0x1p-149f,             // the smallest float
                               -0x1p-149f,
                               1e-40f,
                               -0x1.8p-134f,
                               static_cast<float>(value(largest_code - 1)) * (1 + 0x1p-10f)};
  for (std::uint32_t i = 0; i < 40; ++i)  // fractions and exponents spread over all of them
    values.push_back(bits_float((i * 0x9e3779b9u & 0x807fffffu) | ((i * 6 + 3) << 23)));
  for (const float x : values) {
    CAPTURE(x);
    CHECK(expectation(x) == static_cast<double>(x));
    // Only the two neighbours occur, and only the low 16 bits of the word count.
    const std::uint32_t below = float_bits(x) >> 16;
    for (std::uint32_t word = 0; word < 0x10000u; word += 257) {
      const std::uint32_t code = to_bf16_stochastic(x, word).bits;
      REQUIRE((code == below || code == below + 1));
      REQUIRE(to_bf16_stochastic(x, word | 0xabcd0000u).bits == code);
    }
  }
}

TEST_CASE("bf16: stochastic rounding above the largest value is infinity with the probability that 2^128 has") {
  const double largest = value(largest_code);
  for (const double part : {0.25, 0.5, 1 - 0x1p-16}) {
    const auto x = static_cast<float>(largest + part * (0x1p128 - largest));
    std::uint32_t infinite = 0;
    for (std::uint32_t word = 0; word < 0x10000u; ++word) infinite += to_bf16_stochastic(x, word).bits == 0x7f80u;
    CHECK(infinite == part * 0x10000);
    CHECK(expectation(x) == static_cast<double>(x));
  }
}

TEST_CASE("bf16: infinities and NaN pass through, and a NaN stays one whatever its bits") {
  for (const std::uint32_t word : {0u, 0xffffu, ~0u}) {
    CHECK(to_bf16_stochastic(std::numeric_limits<float>::infinity(), word).bits == 0x7f80u);
    CHECK(to_bf16_stochastic(-std::numeric_limits<float>::infinity(), word).bits == 0xff80u);
    for (const std::uint32_t nan : {0x7f800001u, 0x7fc00000u, 0xffffffffu, 0xff800001u, 0x7f80ffffu}) {
      CHECK(std::isnan(to_float(to_bf16_stochastic(bits_float(nan), word))));
      CHECK(std::isnan(to_float(to_bf16(bits_float(nan)))));
    }
  }
}
