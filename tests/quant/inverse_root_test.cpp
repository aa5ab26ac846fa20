#include "bittern/quant/inverse_root.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "bittern/quant/codebook.h"
#include "bittern/quant/scales.h"
#include "catch.h"
#include "quant/rounding_support.h"

using namespace bittern;

namespace {

const Codebook& book = *find_codebook("de4_unsigned");

std::int32_t code_of(float v, float scale, const InverseRoot& h, std::uint32_t word) {
  return inverse_root_code<4>(v, inverse_scale(scale), scale, book.level, book.levels, h, word);
}

/// Of all words, the part that takes the upper of the two codes.
double chance_of(std::int32_t up, float v, float scale, const InverseRoot& h) {
  return static_cast<double>(count_words([&](std::uint32_t word) { return code_of(v, scale, h, word) == up; })) *
         0x1p-32;
}

}  // namespace

TEST_CASE("inverse_root: over all words the mean of 1 / (sqrt(v) + eps) stays, at any time of a run") {
  const float scale = 3e-6f;
  for (const InverseRoot h : {InverseRoot{31.6f, 1e-8f}, {1.0f, 1e-8f}, {1.0f, 1e-3f}}) {
    double worst = 0;
    for (float x = 0.003f; x < 1; x *= 1.0371f) {
      const float v = x * scale;
      const std::int32_t up = code_of(v, scale, h, 0u), down = code_of(v, scale, h, ~0u);
      const double p = chance_of(up, v, scale, h);
      const double expectation = p * double{h(book.level[up] * scale)} + (1 - p) * double{h(book.level[down] * scale)};
      if (up > down + 1 || book.level[down] > x || book.level[up] < x * 0.9999999f) FAIL(x);
      // Where the lower level is zero, h of it is 1 / eps: one word of 2^32 more or less is much.
      const double one_word = 0x1p-32 * double{h(book.level[down] * scale)} * 256;
      worst = std::max(worst, std::fabs(expectation / double{h(v)} - 1) - one_word / double{h(v)});
    }
    CHECK(worst < 1e-5);
  }
}

TEST_CASE("inverse_root: a small moment almost never becomes zero, and by the mean of v it often does") {
  const InverseRoot h{1.0f, 1e-8f};
  const float scale = 1e-6f, v = 0.001f * scale;  // between 0 and the first level, .00325
  CHECK(code_of(v, scale, h, 0u) == 1);
  const double zero = 1 - chance_of(1, v, scale, h);
  CHECK(zero == Approx(1e-8 * (1 / std::sqrt(1e-9) - 1 / std::sqrt(3.25e-9))).epsilon(0.01));
  const double by_mean = static_cast<double>(count_words([&](std::uint32_t word) {
                           return stochastic_code<4>(v * inverse_scale(scale), book.level, book.levels, word) == 1;
                         })) *
                         0x1p-32;
  CHECK(by_mean == Approx(0.001 / 0.00325).epsilon(1e-4));
}

TEST_CASE("inverse_root: a level stays where it is for every word, and what is beyond the ends takes the end") {
  for (const InverseRoot h : {InverseRoot{1.0f, 1e-8f}, {1.0f, 1e-30f}})
    for (const std::uint32_t word : {0u, 1u, 0x80000000u, ~0u}) {
      for (std::int32_t k = 0; k < book.levels; ++k) CHECK(code_of(book.level[k], 1.0f, h, word) == k);
      CHECK(code_of(1.5f, 1.0f, h, word) == book.levels - 1);
      CHECK(code_of(0.0f, 0.0f, h, word) == 0);
    }
}

TEST_CASE("inverse_root: the larger the moment, the larger its code for the same word") {
  const InverseRoot h{1.0f, 1e-8f};
  for (const std::uint32_t word : {3u, 0x10000000u, 0x7fffffffu, 0xf0000000u}) {
    std::int32_t before = 0;
    for (float x = 1e-5f; x <= 1; x *= 1.003f) {
      const std::int32_t code = code_of(x, 1.0f, h, word);
      CHECK(code >= before);
      before = code;
    }
  }
}
