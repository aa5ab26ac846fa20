#include "bittern/quant/integer.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "bittern/quant/philox.h"
#include "catch.h"
#include "quant/rounding_support.h"

using namespace bittern;

namespace {

struct Grid {
  int lo, hi;
};
// Ternary, full and symmetric grids of the bits that weights have.
constexpr Grid ternary{-1, 1}, full4{-8, 7};
constexpr Grid grids[] = {ternary,     {-2, 1}, {-4, 3}, full4,     {-16, 15}, {-32, 31}, {-64, 63},
                          {-128, 127}, {-3, 3}, {-7, 7}, {-15, 15}, {-31, 31}, {-63, 63}, {-127, 127}};

/// The exact expectation of stochastic rounding, over all random words.
double expectation(float t, const Grid& g) {
  const int from_zero = round_stochastic_to_grid(t, g.lo, g.hi, 0);  // the words that move away from zero are the
  const int to_zero = round_stochastic_to_grid(t, g.lo, g.hi, ~0u);  // lowest ones
  if (from_zero == to_zero) return to_zero;
  const std::uint64_t words =
      count_words([&](std::uint32_t word) { return round_stochastic_to_grid(t, g.lo, g.hi, word) == from_zero; });
  const double p = static_cast<double>(words) * 0x1p-32;
  return p * from_zero + (1 - p) * to_zero;
}

}  // namespace

TEST_CASE("integer: every level of every width has a code of its own, two's complement") {
  for (int bits = 2; bits <= 8; ++bits)
    for (int level = -(1 << (bits - 1)); level < 1 << (bits - 1); ++level) {
      const std::uint8_t code = code_of_level(level, bits);
      CHECK(code < 1 << bits);
      CHECK(level_of(code, bits) == level);
      CHECK(level_of(static_cast<std::uint8_t>(code | ~((1 << bits) - 1)), bits) ==
            level);  // the bits above do not matter
    }
  CHECK(code_of_level(-1, 2) == 3);
  CHECK(code_of_level(-8, 4) == 8);
  CHECK(code_of_level(-127, 8) == 0x81);
}

TEST_CASE("integer: nearest is half to even at every tie and beside it, and stops at the ends") {
  for (const Grid& g : grids)
    for (int level = g.lo - 3; level <= g.hi + 3; ++level)
      for (const float t :
           {static_cast<float>(level), next_up(static_cast<float>(level)), static_cast<float>(level) + 0.5f,
            next_up(static_cast<float>(level) + 0.5f), next_down(static_cast<float>(level) + 0.5f),
            static_cast<float>(level) + 0.3f, static_cast<float>(level) - 0.3f}) {
        const double nearest = std::nearbyint(static_cast<double>(t));
        const double expected = nearest < g.lo ? g.lo : nearest > g.hi ? g.hi : nearest;
        CHECK(round_nearest_even_to_grid(t, g.lo, g.hi) == expected);
      }
}

TEST_CASE("integer: what is no number or infinite stays on the grid") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const Grid& g : grids) {
    CHECK(round_nearest_even_to_grid(inf, g.lo, g.hi) == g.hi);
    CHECK(round_nearest_even_to_grid(-inf, g.lo, g.hi) == g.lo);
    CHECK(round_nearest_even_to_grid(nan, g.lo, g.hi) == g.lo);
    CHECK(round_stochastic_to_grid(inf, g.lo, g.hi, ~0u) == g.hi);
    CHECK(round_stochastic_to_grid(-3e38f, g.lo, g.hi, 0u) == g.lo);
    CHECK(round_stochastic_to_grid(nan, g.lo, g.hi, 0u) == g.lo);
  }
}

TEST_CASE("integer: a level never moves") {
  for (const Grid& g : grids)
    for (int level = g.lo; level <= g.hi; ++level)
      for (const std::uint32_t word : {0u, 1u, 0x80000000u, ~0u}) {
        CHECK(round_stochastic_to_grid(static_cast<float>(level), g.lo, g.hi, word) == level);
        CHECK(round_nearest_even_to_grid(static_cast<float>(level), g.lo, g.hi) == level);
      }
}

TEST_CASE("integer: stochastic rounding is unbiased over all random words, and clipped beyond the ends") {
  for (const Grid& g : grids) {
    for (float t = static_cast<float>(g.lo); t <= static_cast<float>(g.hi); t += 0.0137f)
      CHECK(std::fabs(expectation(t, g) - double{t}) < 0x1p-32);
    CHECK(expectation(static_cast<float>(g.hi) + 0.4f, g) == g.hi);
    CHECK(expectation(static_cast<float>(g.lo) - 0.4f, g) == g.lo);
  }
}

TEST_CASE("integer: rare flips keep their probability, on both sides of zero") {
  const Grid g = ternary;
  for (const float p : {1e-7f, 3.3e-8f, 1e-6f, 1e-9f, 0x1p-32f}) {
    for (const float t : {p, -p}) {
      const int away = t > 0 ? 1 : -1;
      const std::uint64_t words =
          count_words([&](std::uint32_t word) { return round_stochastic_to_grid(t, g.lo, g.hi, word) == away; });
      CHECK(words == static_cast<std::uint64_t>(std::floor(static_cast<double>(p) * 0x1p32)));
    }
  }
}

TEST_CASE("integer: with addressed words, lanes are independent of each other (chi-square)") {
  const Grid g = full4;
  const PhiloxKey key = philox_key(7, Purpose::test);
  constexpr int n = 4 * 50000;
  int joint[4][4] = {};  // up or not in one lane, against the next lane, for each of the four lanes
  int ups[4] = {};
  for (int i = 0; i < n; ++i) {
    const bool a = round_stochastic_to_grid(2.3f, g.lo, g.hi, philox(key, static_cast<std::uint64_t>(i), 1, 2)) == 3;
    const bool b =
        round_stochastic_to_grid(2.3f, g.lo, g.hi, philox(key, static_cast<std::uint64_t>(i + 1), 1, 2)) == 3;
    joint[i % 4][2 * a + b] += 1;
    ups[i % 4] += a;
  }
  const double p = 2.3f - 2.0f, per_lane = n / 4;
  for (int lane = 0; lane < 4; ++lane) {
    const double cells[4] = {(1 - p) * (1 - p), (1 - p) * p, p * (1 - p), p * p};
    double chi2 = 0;
    for (int cell = 0; cell < 4; ++cell) {
      const double expected = per_lane * cells[cell], difference = joint[lane][cell] - expected;
      chi2 += difference * difference / expected;
    }
    CHECK(chi2 < 16.27);  // 3 degrees of freedom, 0.1 %
    CHECK(std::fabs(ups[lane] / per_lane - p) < 4 * std::sqrt(p * (1 - p) / per_lane));
  }
}

TEST_CASE("to_i8_in_range is round_nearest_even_to_grid's byte for every number that rounds to -128 to 127") {
  const auto same = [](float t) {
    return to_i8_in_range(t) == static_cast<std::uint8_t>(round_nearest_even_to_grid(t, -128, 127));
  };
  int wrong = 0;
  for (int level = -128; level < 127; ++level) {
    const float tie = static_cast<float>(level) + 0.5f;
    for (const float t : {static_cast<float>(level), std::nextafterf(tie, -200.0f), tie, std::nextafterf(tie, 200.0f)})
      wrong += !same(t);
  }
  for (const float t : {-128.5f, 127.0f, 127.4999f, 0.0f, -0.0f, 1e-30f, -1e-30f}) wrong += !same(t);
  CHECK(wrong == 0);
}
