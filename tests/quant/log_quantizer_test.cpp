#include "bittern/quant/log_quantizer.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "bittern/quant/philox.h"
#include "catch.h"
#include "quant/rounding_support.h"

using namespace bittern;

namespace {

using Floats = std::vector<float>;
using Codes = std::vector<int>;

struct Block {
  LogBlock stored;
  LogEncoder encoder;
  float level[16];
  Codes codes;  // nearest
};

Block encode(const Floats& x, int bits, float p = 0.1f) {
  Block b;
  std::uint32_t most = 0;
  for (const float v : x) most = std::max(most, magnitude_bits(v));
  b.stored = log_block(bits_float(most), quantile(x.data(), static_cast<std::int32_t>(x.size()), p), bits);
  b.encoder = log_encoder(b.stored, bits);
  log_levels(b.stored.alpha, bits, b.level);
  for (const float v : x) b.codes.push_back(log_nearest(v, b.encoder));
  return b;
}

float decode(const Block& b, int code) {
  return log_decode(code, b.level, b.stored.delta);
}

/// The probability, over all words, of the outcome that the lowest words give.
template <typename Round>
double probability_of_first(Round round) {
  const int first = round(0u);
  return static_cast<double>(count_words([&](std::uint32_t word) { return round(word) == first; })) * 0x1p-32;
}

bool near(double a, double b, double relative) {
  return std::fabs(a - b) <= relative * std::fabs(b);
}

const Floats figure = {.06f, .08f, .21f, .22f, .29f, .54f, .54f, .58f, .77f, .90f, .91f};

}  // namespace

TEST_CASE("quantile: between the two order statistics, as torch interpolates") {
  Floats x;
  for (int i = 0; i < 128; ++i) x.push_back(static_cast<float>((i * 77) % 128));  // 0 .. 127 in disorder
  for (const float p : {0.0f, 0.05f, 0.1f, 0.3f, 0.5f, 0.77f, 1.0f})
    CHECK(near(quantile(x.data(), 128, p), p * 127, 1e-6));
  const Floats one = {0.25f}, equal(7, 0.5f), zeros(5, 0.0f), two = {3.0f, 1.0f};
  CHECK(quantile(one.data(), 1, 0.1f) == 0.25f);
  CHECK(quantile(equal.data(), 7, 0.1f) == 0.5f);
  CHECK(quantile(zeros.data(), 5, 0.9f) == 0.0f);
  CHECK(near(quantile(two.data(), 2, 0.1f), 1.2, 1e-6));
}

TEST_CASE("quantile: equals sorting, for random blocks of every length up to 130, with repetitions and zeros") {
  for (std::int32_t n = 1; n <= 130; ++n)
    for (const float p : {0.0f, 0.1f, 0.35f, 1.0f}) {
      Floats x;
      for (std::int32_t i = 0; i < n; ++i) {
        const std::uint32_t word = philox(philox_key(3, Purpose::test), static_cast<std::uint64_t>(i), 0, n);
        x.push_back(word % 5 == 0 ? 0.0f : word % 5 == 1 ? 0.125f : std::exp2(uniform(word) * 60 - 55));
      }
      Floats sorted = x;
      std::sort(sorted.begin(), sorted.end());
      const float r = p * static_cast<float>(n - 1);
      const auto i = static_cast<std::size_t>(r);
      const double a = sorted[i], b = sorted[std::min<std::size_t>(i + 1, n - 1)],
                   exact = a + (r - double(i)) * (b - a);
      if (std::fabs(quantile(x.data(), n, p) - exact) > 1e-6 * exact) FAIL("n " << n << " p " << p);
    }
}

TEST_CASE("log quantizer: worked example of the paper's figure") {
  const Block two = encode(figure, 2), three = encode(figure, 3), four = encode(figure, 4);
  CHECK(two.stored.delta == .91f);
  CHECK(near(two.stored.alpha, .44464785, 1e-6));
  CHECK(near(three.stored.alpha, .70656122, 1e-6));
  CHECK(near(four.stored.alpha, .85036082, 1e-6));
  const double levels[] = {.91, .4046295, .1799177, .08};
  for (int k = 0; k < 4; ++k) CHECK(near(decode(two, k), levels[k], 1e-6));
  const double e[] = {3.35496, 3, 1.80924, 1.75184, 1.41098, .643915, .643915, .555745, .206119, .0136338, 0};
  for (std::size_t i = 0; i < figure.size(); ++i)
    CHECK(std::fabs(log_position(figure[i], two.encoder) - e[i]) < 2e-6 + 1e-5 * e[i]);
  CHECK(two.codes == Codes{3, 3, 2, 2, 1, 1, 1, 1, 0, 0, 0});
  CHECK(three.codes == Codes{7, 7, 4, 4, 3, 2, 2, 1, 0, 0, 0});
  CHECK(four.codes == Codes{15, 15, 9, 9, 7, 3, 3, 3, 1, 0, 0});

  const auto round = [&](float x) {
    return [&two, x](std::uint32_t word) { return log_stochastic(x, two.encoder, word); };
  };
  CHECK(round(.54f)(0) == 1);
  CHECK(near(probability_of_first(round(.54f)), .64392, 1e-5));
  CHECK(round(.21f)(0) == 2);
  CHECK(near(probability_of_first(round(.21f)), .80924, 1e-5));
  CHECK((round(.06f)(0) == 3 && round(.06f)(~0u) == 3));
}

TEST_CASE("log quantizer: worked example of a second moment after one step") {
  const float g[] = {.1f, -.2f, .03f, .004f, -.5f, .25f, -.0007f, .06f};
  Floats v;
  for (const float x : g) v.push_back(0.001f * x * x);
  const Block b = encode(v, 2);
  CHECK(near(b.stored.delta, 2.5e-4, 1e-6));
  CHECK(near(b.stored.alpha, .0356708684, 1e-5));
  CHECK(b.codes == Codes{1, 1, 2, 3, 0, 0, 3, 1});
  CHECK(near(encode(v, 3).stored.alpha, .239642039, 1e-5));
  CHECK(encode(v, 3).codes == Codes{2, 1, 4, 7, 0, 1, 7, 3});
}

TEST_CASE(
    "log quantizer: the largest value is kept, nothing is zero, and what is below the quantile is clipped up to it") {
  for (const int bits : {2, 3, 4}) {
    const Block b = encode(figure, bits);
    CHECK(decode(b, b.codes.back()) == .91f);
    for (const int code : b.codes) CHECK(decode(b, code) > 0);
    CHECK(b.codes.front() == (1 << bits) - 1);
    CHECK(near(decode(b, b.codes.front()), .08, 1e-5));
  }
}

TEST_CASE("log quantizer: nearest is monotone, and within half a step of the logarithm from the quantile up") {
  for (const int bits : {2, 3, 4}) {
    const Block b = encode(figure, bits);
    int before = (1 << bits) - 1;
    for (float x = 0; x <= .91f; x += .0007f) {
      const int code = log_nearest(x, b.encoder);
      if (code > before) FAIL(x);
      before = code;
      if (x >= .08f) {
        const double steps =
            (std::log(double{x}) - std::log(double{decode(b, code)})) / std::log(double{b.stored.alpha});
        if (std::fabs(steps) > 0.5 + 1e-5) FAIL(x);
      }
    }
  }
}

TEST_CASE("log quantizer: codes are kept when a block is decoded and encoded again; stochastically, but for 1e-6") {
  for (const int bits : {2, 3, 4}) {
    const Block b = encode(figure, bits);
    for (int k = 0; k < 1 << bits; ++k) {
      const float x = decode(b, k);
      CHECK(log_nearest(x, b.encoder) == k);
      for (const std::uint32_t word : {5000u, 0x80000000u, ~0u - 5000u}) CHECK(log_stochastic(x, b.encoder, word) == k);
      CHECK(std::fabs(log_position(x, b.encoder) - static_cast<float>(k)) < 5e-6f);
    }
  }
}

TEST_CASE(
    "log quantizer: stochastic rounding is unbiased for the logarithm, and biased upwards for the value as computed") {
  for (const int bits : {2, 3, 4}) {
    const Block b = encode(figure, bits);
    const double alpha = b.stored.alpha;
    for (float x = .081f; x < .91f; x += .0061f) {
      const auto round = [&](std::uint32_t word) { return log_stochastic(x, b.encoder, word); };
      const int down = round(0u), up = round(~0u);  // low words move to the next code, which is the smaller level
      const double p = down == up ? 0 : probability_of_first(round), position = up + p;
      const double expected_log = std::log(double{x} / b.stored.delta) / std::log(alpha);
      CHECK(std::fabs(position - expected_log) < 5e-6);
      const double f = expected_log - std::floor(expected_log);
      const double ratio = (p * decode(b, down) + (1 - p) * decode(b, up)) / x;
      CHECK(std::fabs(ratio - ((1 - f) + f * alpha) / std::pow(alpha, f)) < 1e-5);
      CHECK(ratio > 1 - 1e-6);
    }
  }
}

TEST_CASE(
    "log quantizer: with no gradient a code moves on with probability ln beta / ln alpha, as the exact average "
    "decays") {
  const Block b = encode(figure, 2);
  for (const float beta : {.999f, .95f})
    for (int k = 0; k < 3; ++k) {
      const float x = beta * decode(b, k);
      const auto round = [&](std::uint32_t word) { return log_stochastic(x, b.encoder, word); };
      CHECK(round(0u) == k + 1);
      CHECK(near(probability_of_first(round), std::log(double{beta}) / std::log(double{b.stored.alpha}), 3e-3));
    }
}

TEST_CASE("log quantizer: a second moment without gradient falls as fast in two bits as in f32 (prop. 3.5)") {
  // alpha = beta^c, so exactly s levels down in c s steps; stored anew after each step, in c s steps on average.
  struct Row {
    double beta;
    int c, levels;
  };
  constexpr int trials = 4000;
  for (const Row& row : {Row{.9, 4, 3}, Row{.95, 10, 2}, Row{.999, 500, 3}}) {
    const float beta = static_cast<float>(row.beta);
    const LogBlock stored{0.25f, static_cast<float>(std::pow(row.beta, row.c))};
    const LogEncoder encoder = log_encoder(stored, 2);
    float level[4];
    log_levels(stored.alpha, 2, level);
    double steps = 0;
    for (std::uint32_t trial = 0; trial < trials; ++trial)
      for (std::uint64_t code = 0, t = 0; code < static_cast<std::uint64_t>(row.levels); ++t, ++steps) {
        const float x = beta * log_decode(static_cast<std::int32_t>(code), level, stored.delta);
        code = static_cast<std::uint64_t>(log_stochastic(
            x, encoder, philox(philox_key(1, Purpose::test), t, trial, static_cast<std::uint32_t>(row.c))));
      }
    // Each step goes down with probability 1 / c: the mean of the trials has this deviation.
    const double deviation = std::sqrt(row.levels * row.c * (row.c - 1.0) / trials);
    CAPTURE(row.beta, steps / trials, deviation);
    CHECK(std::fabs(steps / trials - row.c * row.levels) < 3 * deviation);
  }
}

TEST_CASE("log quantizer: an all-zero block decodes to zero") {
  const Block b = encode(Floats(128, 0.0f), 2);
  CHECK(b.stored.delta == 0.0f);
  CHECK(b.stored.alpha == 1.0f);
  for (int k = 0; k < 4; ++k) CHECK(decode(b, k) == 0.0f);
  CHECK(log_stochastic(0.0f, b.encoder, 7u) <= 3);
}

TEST_CASE("log quantizer: a block with many zeros keeps its largest value, and zeros become 1e-12 of it") {
  Floats x(128, 0.0f);
  for (int i = 40; i < 128; ++i) x[static_cast<std::size_t>(i)] = 0.01f * static_cast<float>(i);
  for (const int bits : {2, 3, 4}) {
    const Block b = encode(x, bits);
    CHECK(decode(b, b.codes[127]) == 1.27f);
    CHECK(b.codes[0] == (1 << bits) - 1);
    CHECK(near(decode(b, b.codes[0]), 1.27e-12, 1e-4));
    CHECK(log_stochastic(0.0f, b.encoder, 0u) == (1 << bits) - 1);
  }
}

TEST_CASE("log quantizer: a block of equal values, or of one, is kept exactly") {
  for (const std::size_t n : {1u, 5u, 128u}) {
    const Block b = encode(Floats(n, 3e-7f), 2);
    CHECK(b.stored.alpha == 1.0f);
    for (const int code : b.codes) CHECK(decode(b, code) == 3e-7f);
    CHECK(decode(b, log_stochastic(3e-7f, b.encoder, 3u)) == 3e-7f);
  }
}

TEST_CASE("log quantizer: tiny blocks have no floor of 1e-12, and what is not finite makes its block NaN") {
  Floats x;
  for (int i = 1; i <= 128; ++i) x.push_back(1e-22f * static_cast<float>(i));
  const Block b = encode(x, 2);
  CHECK(near(decode(b, b.codes[127]), 1.28e-20, 1e-6));
  CHECK(near(decode(b, b.codes[0]), 1.37e-21, 2e-2));
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    x[5] = bad;
    const Block poisoned = encode(x, 2);
    for (const int code : poisoned.codes) CHECK((code >= 0 && code <= 3 && std::isnan(decode(poisoned, code))));
  }
}
