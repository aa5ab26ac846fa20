#include "bittern/quant/codebook.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "bittern/quant/dynamic8.h"
#include "bittern/quant/packing.h"
#include "bittern/quant/scales.h"
#include "catch.h"
#include "quant/rounding_support.h"

using namespace bittern;

namespace {

const Codebook& book(std::string_view name) {
  const Codebook* found = find_codebook(name);
  REQUIRE(found != nullptr);
  return *found;
}

std::int32_t nearest(const Codebook& b, float x) {
  switch (b.bits) {
    case 2:
      return nearest_code<2>(x, b.threshold);
    case 3:
      return nearest_code<3>(x, b.threshold);
    case 4:
      return nearest_code<4>(x, b.threshold);
    default:
      return nearest_code<8>(x, b.threshold);
  }
}

std::int32_t stochastic(const Codebook& b, float x, std::uint32_t word) {
  const std::int32_t by_nearest = stochastic_code(x, nearest(b, x), b.level, b.levels, word);
  std::int32_t code = by_nearest;
  if (b.bits == 2) code = stochastic_code<2>(x, b.level, b.levels, word);
  if (b.bits == 3) code = stochastic_code<3>(x, b.level, b.levels, word);
  if (b.bits == 4) code = stochastic_code<4>(x, b.level, b.levels, word);
  if (code != by_nearest) FAIL("the two ways differ at " << x);
  return code;
}

/// The definition, exactly: x belongs to k rather than k - 1 if it is not below the middle of their levels.
std::int32_t reference_nearest(const Codebook& b, float x) {
  std::int32_t code = 0;
  for (std::int32_t k = 1; k < b.levels; ++k)
    if (2 * double{x} >= double{b.level[k - 1]} + b.level[k]) code = k;
  return code;
}

using Codes = std::vector<std::uint8_t>;
using Floats = std::vector<float>;

Codes encode_block(const Codebook& b, const Floats& x, float& scale) {
  std::uint32_t most = 0;
  for (const float v : x) most = std::max(most, magnitude_bits(v));
  scale = block_scale(bits_float(most));
  Codes codes;
  for (const float v : x) codes.push_back(static_cast<std::uint8_t>(nearest(b, v * inverse_scale(scale))));
  return codes;
}

void check_close(const Floats& a, const Floats& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::fabs(a[i] - b[i]) <= 2e-6f + 1e-5f * std::fabs(b[i]));
}

Floats levels(const Codebook& b) {
  return {b.level, b.level + b.levels};
}

void check_block(std::string_view name, const Floats& x, const Codes& codes, const Floats& decoded) {
  const Codebook& b = book(name);
  float scale;
  CHECK(encode_block(b, x, scale) == codes);
  Floats back;
  for (const std::uint8_t code : codes) back.push_back(b.level[code] * scale);
  check_close(back, decoded);
}

}  // namespace

TEST_CASE("codebook: the levels are the published ones") {
  check_close(levels(book("de2")), {-.55f, 0, .55f, 1});
  check_close(levels(book("de3")), {-.775f, -.325f, -.055f, 0, .055f, .325f, .775f, 1});
  check_close(levels(book("de4")), {-.8875f, -.6625f, -.4375f, -.2125f, -.0775f, -.0325f, -.0055f, 0, .0055f, .0325f,
                                    .0775f, .2125f, .4375f, .6625f, .8875f, 1});
  check_close(levels(book("de2_unsigned")), {0, .325f, .775f, 1});
  check_close(levels(book("de3_unsigned")), {0, .0325f, .0775f, .2125f, .4375f, .6625f, .8875f, 1});
  check_close(levels(book("de4_unsigned")), {0, .00325f, .00775f, .02125f, .04375f, .06625f, .08875f, .15625f, .26875f,
                                             .38125f, .49375f, .60625f, .71875f, .83125f, .94375f, 1});
  check_close(levels(book("linear2")), {.25f, .5f, .75f, 1});
  check_close(levels(book("linear2_signed")), {-1, -1 / 3.0f, 1 / 3.0f, 1});
  for (int i = 0; i < 16; ++i) CHECK(book("linear4").level[i] == static_cast<float>(i + 1) / 16);
  for (const int bits : {2, 3, 4}) {
    const std::string name = "de" + std::to_string(bits) + "_unsigned";
    Floats without = levels(book(name));
    without.erase(without.begin());
    CHECK(levels(book(name + "_no_zero")) == without);
  }
  CHECK(find_codebook("de5") == nullptr);
}

TEST_CASE("codebook: companded levels are the inverses of softsign and of the square root at even steps") {
  const Codebook &softsign = book("softsign8"), &root = book("sqrt8");
  for (int k = 0; k < 255; ++k) {
    const double x = softsign.level[k], y = 2 * x / (1 + std::fabs(x));
    CHECK(std::fabs(127 * y - (k - 127)) < 1e-5);
    CHECK(softsign.level[k] == -softsign.level[254 - k]);
  }
  for (int k = 0; k < 256; ++k) CHECK(std::fabs(255 * std::sqrt(double{root.level[k]}) - k) < 1e-5);
  // Nearest in x is the paper's nearest in y but for values near the middle of two levels, and never further off.
  for (float x = -1; x <= 1; x += 0.00011f) {
    const auto paper = static_cast<int>(std::floor(127 * 2 * x / (1 + std::fabs(x)) + 0.5f)) + 127;
    const int code = nearest(softsign, x);
    CHECK(std::abs(code - paper) <= 1);
    CHECK(std::fabs(softsign.level[code] - x) <= std::fabs(softsign.level[paper] - x));
  }
}

TEST_CASE("codebook: NF4's levels are the published ones, unequal on the two sides of zero") {
  check_close(levels(book("nf4")),
              {-1.0f, -.6961928f, -.52507305f, -.3949175f, -.28444138f, -.18477343f, -.09105004f, 0, .0795803f,
               .1609302f, .2461123f, .33791524f, .44070983f, .562617f, .72295684f, 1});
}

TEST_CASE("codebook: the 8-bit levels are those of create_dynamic_map, in their ends and their sums") {
  const Codebook &s = book("dynamic8"), &u = book("dynamic8_unsigned");
  CHECK(s.level[0] == -0.99296875f);
  CHECK(s.level[127] == 0);
  CHECK(s.level[254] == 0.99296875f);
  CHECK(s.level[255] == 1);
  check_close({s.level + 128, s.level + 133}, {5.5e-7f, 3.25e-6f, 7.75e-6f, 2.125e-5f, 4.375e-5f});
  CHECK(s.level[128] == 5.5e-7f);
  CHECK(s.level[129] == 3.25e-6f);
  for (const int k : {0, 1, 2, 3, 4, 5})
    CHECK(u.level[k] == std::vector<float>{0, 3.25e-7f, 7.75e-7f, 2.125e-6f, 4.375e-6f, 6.625e-6f}[k]);
  check_close({u.level + 252, u.level + 256}, {.9824219f, .9894531f, .9964844f, 1});
  double sum = 0, magnitudes = 0, unsigned_sum = 0;
  for (int k = 0; k < 256; ++k) {
    sum += s.level[k];
    magnitudes += std::fabs(s.level[k]);
    unsigned_sum += u.level[k];
  }
  CHECK(sum == 1.0);
  CHECK(std::fabs(magnitudes - 75.1052631) < 1e-5);
  CHECK(std::fabs(unsigned_sum - 75.1052631) < 1e-5);
}

TEST_CASE("codebook: the thresholds are the published midpoints") {
  const auto thresholds = [](const Codebook& b) { return Floats(b.threshold + 1, b.threshold + b.levels); };
  check_close(thresholds(book("de4")), {-.775f, -.55f, -.325f, -.145f, -.055f, -.019f, -.00275f, .00275f, .019f, .055f,
                                        .145f, .325f, .55f, .775f, .94375f});
  check_close(thresholds(book("de3")), {-.55f, -.19f, -.0275f, .0275f, .19f, .55f, .8875f});
  check_close(thresholds(book("de2")), {-.275f, .275f, .775f});
}

TEST_CASE("codebook: levels ascend, every one is a fixed point, and what a name says is so") {
  for (const Codebook& b : codebooks) {
    INFO(b.name);
    const bool no_zero = b.name.find("no_zero") != std::string_view::npos;
    CHECK(b.levels == (no_zero || b.name == "softsign8" ? (1 << b.bits) - 1 : 1 << b.bits));
    CHECK(b.has_zero() == (!no_zero && b.name.find("linear") == std::string_view::npos));
    CHECK(b.is_signed() == (b.level[0] < 0));
    CHECK(b.level[b.levels - 1] == 1);
    for (std::int32_t k = 0; k < b.levels; ++k) {
      if (k > 0) CHECK(b.level[k - 1] < b.level[k]);
      CHECK(nearest(b, b.level[k]) == k);
      for (const std::uint32_t word : {0u, 1u, 0x80000000u, ~0u}) CHECK(stochastic(b, b.level[k], word) == k);
    }
  }
}

TEST_CASE(
    "codebook: nearest equals the definition at every threshold, at the floats beside it, and all over the range") {
  for (const Codebook& b : codebooks) {
    INFO(b.name);
    int wrong = 0;
    const auto compare = [&](float x) { wrong += nearest(b, x) != reference_nearest(b, x); };
    for (std::int32_t k = 1; k < b.levels; ++k) {
      const auto middle = static_cast<float>((double{b.level[k - 1]} + b.level[k]) / 2);
      for (const float x : {next_down(next_down(middle)), next_down(middle), middle, next_up(middle)}) compare(x);
    }
    for (float x = -1.1f; x < 1.1f; x += 0.00037f) compare(x);
    for (float x = 1.0f; x > 1e-9f; x *= 0.97f) {
      compare(x);
      compare(-x);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("codebook: an exact tie goes up") {
  CHECK(nearest(book("linear4"), 1.5f / 16) == 1);
  CHECK(nearest(book("linear2_signed"), 0.0f) == 2);
}

TEST_CASE("codebook: beyond the ends is the end, and the code that has no level is never made") {
  const float inf = std::numeric_limits<float>::infinity();
  for (const Codebook& b : codebooks) {
    for (const float x : {1.0f, 1.0001f, 2.0f, 3e38f}) {
      CHECK(nearest(b, x) == b.levels - 1);
      CHECK(stochastic(b, x, 0u) == b.levels - 1);
      CHECK(stochastic(b, x, ~0u) == b.levels - 1);
      CHECK(nearest(b, inf) == b.levels - 1);
      CHECK(nearest(b, -x * 1.0001f) == 0);
      CHECK(stochastic(b, -x * 1.0001f, 0u) == 0);
    }
    CHECK(nearest(b, -inf) == 0);
    CHECK(nearest(b, std::numeric_limits<float>::quiet_NaN()) == 0);
  }
}

TEST_CASE("codebook: without a zero nothing decodes to zero; with one, small second moments vanish") {
  for (const char* name : {"linear2", "linear4", "de4_unsigned_no_zero"}) {
    const Codebook& b = book(name);
    for (const float x : {0.0f, 1e-30f, 1e-8f, 0.01f}) CHECK(b.level[nearest(b, x)] > 0);
  }
  CHECK(book("de4_unsigned").level[nearest(book("de4_unsigned"), 1e-3f)] == 0);
}

TEST_CASE("codebook: the signed dynamic maps keep the sign or give zero, and shrink a negative peak") {
  for (const char* name : {"de2", "de3", "de4", "dynamic8"}) {
    const Codebook& b = book(name);
    for (float x = -1; x <= 1; x += 0.0013f) CHECK(b.level[nearest(b, x)] * x >= 0);
  }
  CHECK(book("de4").level[nearest(book("de4"), -1.0f)] == -0.8875f);
  CHECK(book("de2").level[nearest(book("de2"), -1.0f)] == -0.55f);
  CHECK(book("de4").level[nearest(book("de4"), 1.0f)] == 1.0f);
}

TEST_CASE("codebook: stochastic rounding is unbiased over all words, between the lowest and the highest level") {
  for (const Codebook& b : codebooks) {
    INFO(b.name);
    double worst = 0;
    for (float x = b.level[0]; x <= 1.0f; x += 0.00731f) {
      const std::int32_t up = stochastic(b, x, 0u), down = stochastic(b, x, ~0u);
      const std::uint64_t words = count_words([&](std::uint32_t word) { return stochastic(b, x, word) == up; });
      const double p = static_cast<double>(words) * 0x1p-32;
      const double expectation = up == down ? b.level[down] : p * b.level[up] + (1 - p) * b.level[down];
      if (up > down + 1 || b.level[down] > x || b.level[up] < x) FAIL(x);
      worst = std::max(worst, std::fabs(expectation - x));
    }
    CHECK(worst < 1e-7);  // one rounding of the quotient
  }
  const Codebook& de4 = book("de4");
  const std::uint64_t words = count_words([&](std::uint32_t word) { return stochastic(de4, 0.3f, word) == 12; });
  CHECK(std::fabs(static_cast<double>(words) * 0x1p-32 - 0.38889) < 1e-5);
}

TEST_CASE("dynamic8: the look-up equals the search: at both ends of every bucket, and so for every float") {
  // Within a bucket the code can only be the lowest float's or the next one, which a comparison with the threshold
  // decides. So it is right for all floats if it is right for the lowest and the highest of each bucket.
  for (const char* name : {"dynamic8", "dynamic8_unsigned"}) {
    const Dynamic8& lookup = std::string_view(name) == "dynamic8" ? dynamic8_signed : dynamic8_unsigned;
    const Codebook& b = book(name);
    int wrong = 0;
    const auto compare = [&](float x) { wrong += nearest_code(x, lookup) != nearest(b, x); };
    for (std::uint32_t half = 0; half < 0x7f80u; ++half)
      for (const std::uint32_t sign : {0u, 0x80000000u})
        for (const std::uint32_t low : {0u, 1u, 0x8000u, 0xffffu}) compare(bits_float(sign | half << 16 | low));
    for (int k = 1; k < 256; ++k)
      for (const float x : {next_down(b.threshold[k]), b.threshold[k], next_up(b.threshold[k]), b.level[k]}) compare(x);
    for (const float x : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) compare(x);
    CHECK(wrong == 0);
  }
}

// The worked examples of the specification of the 4-bit optimizers.
TEST_CASE("codebook: worked example, a block of the first moment in 4, 3 and 2 bits") {
  const Floats x = {.02f, -.5f, .11f, -.003f, 0, .31f, -.07f, .9f};
  check_block("de4", x, {9, 1, 10, 6, 7, 12, 4, 15}, {.02925f, -.59625f, .06975f, -.00495f, 0, .39375f, -.06975f, .9f});
  check_block("de3", x, {3, 0, 4, 3, 3, 5, 2, 7}, {0, -.6975f, .0495f, 0, 0, .2925f, -.0495f, .9f});
  check_block("de2", x, {1, 0, 1, 1, 1, 2, 1, 3}, {0, -.495f, 0, 0, 0, .495f, 0, .9f});
  const Floats negative_peak = {.02f, -.9f, .11f, -.003f, 0, .31f, -.07f, .5f};
  float scale;
  CHECK(encode_block(book("de4"), negative_peak, scale) == Codes{9, 0, 10, 6, 7, 12, 4, 13});
  CHECK(std::fabs(book("de4").level[0] * scale + .79875f) < 1e-6f);
}

TEST_CASE("codebook: worked example, a block of the second moment without a zero, and its bytes") {
  const Floats x = {1e-8f, 4e-4f, 2.5e-3f, 1e-3f, 6.1e-3f, 9e-3f, 0, 1e-2f};
  const Codes codes = {0, 0, 3, 1, 9, 13, 0, 15};
  check_block("linear4", x, codes, {6.25e-4f, 6.25e-4f, 2.5e-3f, 1.25e-3f, 6.25e-3f, 8.75e-3f, 6.25e-4f, 1e-2f});
  Codes bytes(4);
  pack_codes(4, codes.data(), 0, 8, bytes.data());
  CHECK(bytes == Codes{0x00, 0x13, 0xd9, 0xf0});
  float scale;
  CHECK(encode_block(book("de4_unsigned"), x, scale) == Codes{0, 4, 8, 6, 11, 14, 0, 15});
}

TEST_CASE("codebook: worked example, a matrix with rank-1 scales") {
  const float x[3][4] = {{.10f, .40f, .02f, .80f}, {.05f, .01f, .03f, .06f}, {.30f, 2.0f, .09f, .50f}};
  const Codes expected = {4, 7, 3, 15, 12, 2, 7, 15, 15, 15, 15, 9};
  const Floats decoded = {.09375f, .4f, .0225f, .8f, .04875f, .01125f, .03f, .06f, .3f, 2, .09f, .5f};
  float row[3] = {}, column[4] = {};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 4; ++j) {
      row[i] = std::max(row[i], x[i][j]);
      column[j] = std::max(column[j], x[i][j]);
    }
  Codes codes;
  Floats back;
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 4; ++j) {
      const float scale = rank1_scale(block_scale(row[i]), block_scale(column[j]));
      // .5 is exactly half of its scale and exactly a level, .04 and others are near none of the ties
      codes.push_back(static_cast<std::uint8_t>(nearest(book("linear4"), x[i][j] * inverse_scale(scale))));
      back.push_back(book("linear4").level[codes.back()] * scale);
    }
  CHECK(codes == expected);
  check_close(back, decoded);
  Codes bytes(6);
  pack_codes(4, codes.data(), 0, 12, bytes.data());
  CHECK(bytes == Codes{0x74, 0xf3, 0x2c, 0xf7, 0xff, 0x9f});
}

TEST_CASE(
    "codebook: second moments under rank-1 scales are off by half a gap of the smaller scale, and none becomes 0") {
  // Second moments of eleven decades, larger in some rows and columns than in others, as the scales expect them.
  constexpr int rows = 24, cols = 40;
  std::vector<Floats> x(rows, Floats(cols));
  Floats row(rows, 0.0f), column(cols, 0.0f);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < cols; ++j) {
      const double u = static_cast<double>((i * 7919 + j * 104729) % 10007) / 10007.0;
      x[i][j] = static_cast<float>(std::pow(10.0, -7.0 * u - (i % 3) - 0.5 * (j % 5)));
      row[i] = std::max(row[i], x[i][j]);
      column[j] = std::max(column[j], x[i][j]);
    }
  const Codebook& b = book("linear4");
  int at_the_lowest = 0;
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < cols; ++j) {
      CAPTURE(i, j, x[i][j]);
      const float scale = rank1_scale(block_scale(row[i]), block_scale(column[j]));
      CHECK(scale == std::min(row[i], column[j]));
      const float decoded = b.level[nearest(b, x[i][j] * inverse_scale(scale))] * scale;
      CHECK(decoded > 0);
      CHECK(decoded <= scale);
      const double off = std::fabs(double{decoded} - double{x[i][j]});
      if (x[i][j] >= scale / 16) {
        CHECK(off <= double{scale} / 32 * (1 + 1e-6));
      } else {
        ++at_the_lowest;  // it has no level of its own, and is lifted to a sixteenth: its steps are smaller, never larger
        CHECK(decoded == scale / 16);
      }
    }
  CHECK(at_the_lowest > rows * cols / 4);
  CHECK(at_the_lowest < rows * cols);
}
