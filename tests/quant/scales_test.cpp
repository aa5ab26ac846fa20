#include "bittern/quant/scales.h"

#include <cmath>
#include <limits>

#include "bittern/quant/codebook.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "catch.h"

using namespace bittern;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("scales: magnitudes are ordered as integers, NaN above all") {
  const float ascending[] = {0.0f, 1e-45f, 1e-38f, -1e-3f, 1.0f, -3e38f, infinity, not_a_number};
  for (int i = 1; i < 8; ++i) CHECK(magnitude_bits(ascending[i - 1]) < magnitude_bits(ascending[i]));
  CHECK(magnitude_bits(-0.0f) == 0);
}

TEST_CASE("scales: the largest magnitude becomes the largest code, from the smallest floats to the largest") {
  for (const float absmax : {3.4e38f, 1e30f, 448.0f, 1.0f, 0.017f, 1e-20f, 1e-30f, 0x1p-117f}) {
    const float fp8 = scale_from_absmax(absmax, 448.0f), int8 = scale_from_absmax(absmax, 127.0f),
                block = block_scale(absmax);
    CHECK(to_e4m3(absmax * inverse_scale(fp8)) == 0x7e);
    CHECK(round_nearest_even_to_grid(-absmax * inverse_scale(int8), -127, 127) == -127);
    CHECK(nearest_code<4>(absmax * inverse_scale(block), find_codebook("de4")->threshold) == 15);
    CHECK(std::fabs(e4m3_to_float(0x7e) * fp8 - absmax) <= 1e-6f * absmax);
  }
}

TEST_CASE("scales: zeros stay zeros, also where the codebook has none") {
  CHECK(scale_from_absmax(0.0f, 448.0f) == 1.0f);
  CHECK(e4m3_to_float(to_e4m3(0.0f * inverse_scale(1.0f))) == 0.0f);
  const Codebook& linear4 = *find_codebook("linear4");
  CHECK(block_scale(0.0f) == 0.0f);
  CHECK(inverse_scale(0.0f) == 0.0f);
  CHECK(linear4.level[nearest_code<4>(0.0f * inverse_scale(0.0f), linear4.threshold)] * 0.0f == 0.0f);
}

TEST_CASE("scales: what is smaller than any scale decodes to something small, never to NaN") {
  for (const float absmax : {1e-45f, 1e-40f, 1e-38f, 0x1p-126f}) {
    for (const float scale :
         {scale_from_absmax(absmax, 448.0f), scale_from_absmax(absmax, 127.0f), block_scale(absmax)}) {
      CHECK(scale >= 0x1p-126f);
      CHECK(std::isfinite(inverse_scale(scale)));
      CHECK(absmax * inverse_scale(scale) <= 1.01f * absmax / scale);
    }
    const float scale = scale_from_absmax(absmax, 448.0f);
    CHECK(std::fabs(e4m3_to_float(to_e4m3(absmax * inverse_scale(scale))) * scale) <= 0x1p-125f);
  }
}

TEST_CASE("scales: one value that is not finite makes all that share its scale NaN, visibly") {
  for (const float bad : {infinity, not_a_number}) {
    for (const float scale : {scale_from_absmax(bad, 448.0f), block_scale(bad), scale_from_absmean(bad, 1.0f)}) {
      CHECK(std::isnan(scale));
      CHECK(inverse_scale(scale) == 0.0f);
      const std::uint8_t code = to_e4m3_stochastic(0.3f * inverse_scale(scale), 5u);
      CHECK(std::isnan(e4m3_to_float(code) * scale));
    }
  }
}

TEST_CASE("scales: absmean is DQT's step: gamma / Qp, gamma itself for ternary, never below 1e-5") {
  CHECK(scale_from_absmean(0.01596f, 1.0f) == 0.01596f);
  CHECK(scale_from_absmean(0.01596f, 127.0f) == 0.01596f / 127.0f);
  CHECK(scale_from_absmean(0.0f, 1.0f) == 1e-5f);
  CHECK(scale_from_absmean(1e-9f, 127.0f) == 1e-5f / 127.0f);
}

TEST_CASE("scales: rank 1 takes the smaller one, and loses only what shares a bad row and a bad column") {
  CHECK(rank1_scale(0.5f, 2.0f) == 0.5f);
  CHECK(rank1_scale(2.0f, 0.5f) == 0.5f);
  CHECK(rank1_scale(0.0f, 2.0f) == 0.0f);
  CHECK(rank1_scale(block_scale(not_a_number), 2.0f) == 2.0f);
  CHECK(rank1_scale(2.0f, block_scale(infinity)) == 2.0f);
  CHECK(std::isnan(rank1_scale(block_scale(infinity), block_scale(not_a_number))));
}

TEST_CASE("scales: encoding what was decoded gives the same code") {
  for (const float scale : {0.013f, 1.0f / 3, 7e-5f, 1.7f, 3e-8f}) {
    const float inverse = inverse_scale(scale);
    for (int code = 0; code < 256; ++code) {
      if ((code & 0x7f) == 0x7f) continue;
      const auto c = static_cast<std::uint8_t>(code);
      CHECK(to_e4m3(e4m3_to_float(c) * scale * inverse) == c);
    }
    for (int level = -128; level <= 127; ++level)
      CHECK(round_nearest_even_to_grid(static_cast<float>(level) * scale * inverse, -128, 127) == level);
    for (const Codebook& b : codebooks)
      if (b.bits == 4)
        for (int k = 0; k < b.levels; ++k) CHECK(nearest_code<4>(b.level[k] * scale * inverse, b.threshold) == k);
  }
}
