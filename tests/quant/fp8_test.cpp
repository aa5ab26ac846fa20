#include "bittern/quant/fp8.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "bittern/quant/scales.h"
#include "catch.h"
#include "quant/rounding_support.h"

using namespace bittern;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// A format as the papers print it, and the functions under test.
struct Format {
  const char* name;
  int exponent_bits, fraction_bits, bias;
  double largest;
  std::uint8_t largest_code;
  std::uint8_t (*nearest)(float);
  std::uint8_t (*stochastic)(float, std::uint32_t);
  float (*decode)(std::uint8_t);
};
const Format formats[] = {
    {"E4M3", 4, 3, 7, largest_e4m3, 0x7e, to_e4m3, to_e4m3_stochastic, e4m3_to_float},
    {"E5M2", 5, 2, 15, 57344.0, 0x7b, to_e5m2, to_e5m2_stochastic, e5m2_to_float},
};

/// The value of a finite code, from its three fields.
double value(const Format& f, int code) {
  const int exponent = (code & 0x7f) >> f.fraction_bits, fraction = code & ((1 << f.fraction_bits) - 1);
  const double sign = code & 0x80 ? -1.0 : 1.0, unit = std::ldexp(1.0, -f.fraction_bits);
  if (exponent == 0) return sign * std::ldexp(fraction * unit, 1 - f.bias);
  return sign * std::ldexp(1.0 + fraction * unit, exponent - f.bias);
}

/// Nearest code by looking among all values; of two that are equally near, the even one.
int reference_nearest(const Format& f, const std::vector<double>& values, float x) {
  const double a = std::fabs(static_cast<double>(x));
  const int sign = std::signbit(x) ? 0x80 : 0;
  if (std::isnan(x)) return 0x7f;
  if (a >= f.largest) return sign | f.largest_code;
  const int above = static_cast<int>(std::upper_bound(values.begin(), values.end(), a) - values.begin());
  const int below = above - 1;
  const double to_below = a - values[below], to_above = values[above] - a;
  if (to_below == to_above) return sign | (below % 2 == 0 ? below : above);
  return sign | (to_below < to_above ? below : above);
}

/// The exact probability, over all random words, that x > 0 is rounded to the code above `below`.
double probability_up(const Format& f, float x, int below) {
  if (x < std::ldexp(1.0f, 1 - f.bias))
    return static_cast<double>(count_words([&](std::uint32_t word) { return f.stochastic(x, word) == below + 1; })) *
           0x1p-32;
  // A normal value adds the low bits of the word to its own: the words that round up are the highest ones.
  const int bits = 23 - f.fraction_bits;
  const std::uint64_t down = count_words([&](std::uint32_t word) { return f.stochastic(x, word) == below; }, bits);
  return 1 - std::ldexp(static_cast<double>(down), -bits);
}

}  // namespace

TEST_CASE("fp8: every code decodes to its definition, and the specials to NaN and infinity") {
  for (const Format& f : formats) {
    INFO(f.name);
    for (int code = 0; code < 256; ++code) {
      const float decoded = f.decode(static_cast<std::uint8_t>(code));
      if ((code & 0x7f) > f.largest_code) continue;
      CHECK(decoded == value(f, code));
      CHECK(std::signbit(decoded) == (code >= 0x80));
    }
  }
  CHECK(std::isnan(e4m3_to_float(0x7f)));
  CHECK(std::isnan(e4m3_to_float(0xff)));
  CHECK(e5m2_to_float(0x7c) == infinity);
  CHECK(e5m2_to_float(0xfc) == -infinity);
  for (const int code : {0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff})
    CHECK(std::isnan(e5m2_to_float(static_cast<std::uint8_t>(code))));
}

TEST_CASE("fp8: every finite code is a fixed point, nearest and stochastic, whatever the random word") {
  for (const Format& f : formats)
    for (int code = 0; code < 256; ++code) {
      if ((code & 0x7f) > f.largest_code) continue;
      const float x = f.decode(static_cast<std::uint8_t>(code));
      CHECK(f.nearest(x) == code);
      for (const std::uint32_t word : {0u, 1u, 0x000fffffu, 0x001fffffu, 0x7fffffffu, 0x80000000u, 0xfff00000u, ~0u})
        CHECK(f.stochastic(x, word) == code);
    }
}

TEST_CASE(
    "fp8: nearest equals the definition at every tie, at the floats beside it, and in a dense sweep of all floats") {
  for (const Format& f : formats) {
    INFO(f.name);
    std::vector<double> values;  // ascending in the code
    for (int code = 0; code <= f.largest_code; ++code) values.push_back(value(f, code));
    std::uint64_t wrong = 0;
    const auto compare = [&](float x) { wrong += f.nearest(x) != reference_nearest(f, values, x); };
    for (int code = 0; code < f.largest_code; ++code) {
      const auto tie = static_cast<float>((value(f, code) + value(f, code + 1)) / 2);
      for (float x = next_down(next_down(tie)); x <= next_up(next_up(tie)); x = next_up(x)) {
        compare(x);
        compare(-x);
      }
    }
    for (std::uint64_t u = 0; u < (std::uint64_t{1} << 32); u += 1021)
      compare(bits_float(static_cast<std::uint32_t>(u)));
    CHECK(wrong == 0);
  }
}

TEST_CASE("fp8: it saturates, infinity too; NaN becomes NaN; zero keeps its sign") {
  for (const Format& f : formats)
    for (const float x :
         {static_cast<float>(f.largest) * 1.0001f, static_cast<float>(f.largest) * 1.5f, 3.4e38f, infinity}) {
      CHECK(f.nearest(x) == f.largest_code);
      CHECK(f.nearest(-x) == (0x80 | f.largest_code));
      CHECK(f.stochastic(x, ~0u) == f.largest_code);
      CHECK(f.stochastic(-x, ~0u) == (0x80 | f.largest_code));
    }
  for (const Format& f : formats)
    for (const float x : {not_a_number, -not_a_number, bits_float(0x7f800001u), bits_float(0xffffffffu)}) {
      CHECK(f.nearest(x) == 0x7f);
      CHECK(f.stochastic(x, 0x12345678u) == 0x7f);
      CHECK(std::isnan(f.decode(f.nearest(x))));
    }
  CHECK(to_e4m3(-0.0f) == 0x80);
  CHECK(to_e4m3(-1e-30f) == 0x80);
  CHECK(to_e5m2_stochastic(-0.0f, ~0u) == 0x80);
}

TEST_CASE("fp8: nearest is monotone, and within half a step of what it rounds") {
  for (const Format& f : formats) {
    float before = -infinity;
    for (float x = -1.001f * static_cast<float>(f.largest); x < f.largest; x += std::max(std::fabs(x) * 1e-4f, 1e-7f)) {
      const float rounded = f.decode(f.nearest(x));
      const double quantum = std::ldexp(1.0, 1 - f.bias - f.fraction_bits);
      const double half_step = std::max(std::fabs(x) * std::ldexp(1.0, -f.fraction_bits), quantum) / 2;
      if (!(rounded >= before) || (std::fabs(x) <= f.largest && std::fabs(double(rounded) - x) > half_step)) FAIL(x);
      before = rounded;
    }
  }
}

TEST_CASE("fp8: stochastic rounding has exactly the right probability, in every binade and among the subnormals") {
  for (const Format& f : formats) {
    INFO(f.name);
    const float smallest_normal = std::ldexp(1.0f, 1 - f.bias);
    for (int below = 0; below < f.largest_code; ++below)
      for (const double part : {0.0, 0x1p-11, 0.1, 0.25, 0.5, 0.7, 1 - 0x1p-11}) {
        const double a = value(f, below), b = value(f, below + 1);
        const auto x = static_cast<float>(a + part * (b - a));
        if (x >= b) continue;
        const double p = (x - a) / (b - a);
        CHECK(probability_up(f, x, below) == p);
        CHECK(f.stochastic(x, 0) >= below);
        for (const std::uint32_t word : {0u, 77u, 0x80000u, ~0u}) {
          const int up = f.stochastic(x, word);
          if (up != below && up != below + 1) FAIL("not a neighbour");
          if (f.stochastic(-x, word) != (up | 0x80)) FAIL("not symmetric");
        }
      }
    // Down to where a float is finer than 2^-32 of a quantum, the probability is exact; below, right to 2^-32.
    for (float x = smallest_normal; x > 1e-30f; x *= 0.37f) {
      const double quantum = value(f, 1);
      const int below = static_cast<int>(x / quantum);
      if (x == smallest_normal) continue;
      CHECK(std::fabs(probability_up(f, x, below) - (x / quantum - below)) < 0x1p-32);
    }
  }
}

TEST_CASE("fp8: of all words, exactly those of the probability round a normal value up, and high bits do not matter") {
  for (const Format& f : formats) {
    const std::uint32_t words = 1u << (23 - f.fraction_bits);
    const float x = 1.0f + 0.3f * std::ldexp(1.0f, -f.fraction_bits);
    const int below = f.nearest(1.0f);
    std::uint32_t up = 0, different = 0;
    for (std::uint32_t word = 0; word < words; ++word) {
      up += f.stochastic(x, word) == below + 1;
      different += f.stochastic(x, word) != f.stochastic(x, word | 0xffe00000u);
    }
    CHECK(static_cast<double>(up) / words == std::ldexp(double{x} - 1, f.fraction_bits));
    CHECK(different == 0);
  }
}

TEST_CASE("fp8: stochastic rounding of what lies beyond the largest value is biased towards zero, and only there") {
  CHECK(to_e4m3_stochastic(447.0f, ~0u) == 0x7e);
  CHECK(to_e4m3_stochastic(447.0f, 0u) == 0x7d);
  for (const std::uint32_t word : {0u, 0x80000u, ~0u}) CHECK(e4m3_to_float(to_e4m3_stochastic(460.0f, word)) == 448.0f);
}

TEST_CASE("to_e4m3_in_range is to_e4m3 up to 464, the last number that rounds to 448") {
  const auto same = [](std::uint32_t bits) {
    for (const std::uint32_t sign : {0u, 0x80000000u}) {
      const float x = bits_float(bits | sign);
      if (to_e4m3_in_range(x) != to_e4m3(x)) return false;
    }
    return true;
  };
  const std::uint32_t last = float_bits(464.0f);
  std::uint32_t first_wrong = last + 1;
  for (std::uint32_t bits = 0; bits <= last && first_wrong > last; bits += 1009)
    if (!same(bits)) first_wrong = bits;
  for (int code = 0; code < 0x7e; ++code) {  // every tie and its neighbours
    const float tie =
        0.5f * (e4m3_to_float(static_cast<std::uint8_t>(code)) + e4m3_to_float(static_cast<std::uint8_t>(code + 1)));
    for (const std::uint32_t bits : {float_bits(tie) - 1, float_bits(tie), float_bits(tie) + 1})
      if (!same(bits)) first_wrong = bits;
  }
  if (!same(last)) first_wrong = last;
  CHECK(first_wrong == last + 1);
}

TEST_CASE("fp8: under a block's scale E4M3 keeps the largest, and four binary digits down to 2^-14.8 of it") {
  // A block of 128 over nine decades and both signs; the scale brings the largest to 448.
  std::vector<float> x;
  for (int i = 0; i < 128; ++i)
    x.push_back(static_cast<float>((i % 2 == 0 ? 1.0 : -1.0) * 3.7e-4 * std::pow(10.0, -9.0 * i / 127.0)));
  const float scale = scale_from_absmax(x[0], 448.0f);
  int vanished = 0;
  for (const float value : x) {
    CAPTURE(value);
    const float decoded = e4m3_to_float(to_e4m3(value * inverse_scale(scale))) * scale;
    const double off = std::fabs(double{decoded} - double{value}), part = std::fabs(double{value} / double{scale});
    if (part >= 0x1p-6)
      CHECK(off <= 0x1p-4 * std::fabs(double{value}) * (1 + 1e-6));
    else
      CHECK(off <= 0x1p-10 * double{scale} * (1 + 1e-6));  // half of the smallest subnormal
    CHECK(decoded * value >= 0);
    vanished += decoded == 0.0f;
    if (part < 0x1p-10 * (1 - 1e-6)) CHECK(decoded == 0.0f);
  }
  CHECK(std::fabs(e4m3_to_float(to_e4m3(x[0] * inverse_scale(scale))) * scale / x[0] - 1) < 1e-6f);
  CHECK(vanished > 30);  // a second moment must not: E4M3 there is only a baseline
}
