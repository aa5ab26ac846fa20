#include "bittern/quant/polynomial.h"

#include <algorithm>
#include <cmath>

#include "catch.h"
#include "quant/rounding_support.h"

using namespace bittern;

TEST_CASE("polynomial: log2 is within its bounds over every 7th float of six octaves, and a sweep of all of them") {
  double relative = 0, absolute = 0;
  const auto compare = [&](std::uint32_t bits) {
    const float x = bits_float(bits);
    const double exact = std::log2(double{x}), error = std::fabs(log2_f32(x) - exact);
    relative = std::max(relative, exact == 0 ? error : error / std::fabs(exact));
    absolute = std::max(absolute, error - std::fabs(exact) * 0x1p-24);
  };
  for (const int exponent : {-100, -40, -3, -1, 0, 1}) {
    const std::uint32_t first = float_bits(std::ldexp(1.0f, exponent));
    for (std::uint32_t i = 0; i < 1u << 23; i += 7) compare(first + i);
  }
  for (std::uint32_t bits = 0x00800000u; bits < 0x7f800000u; bits += 9973) compare(bits);
  for (std::uint32_t i = 0; i < 4096; ++i) {  // around 1, where only a relative bound says anything
    compare(0x3f800000u + i);
    compare(0x3f800000u - i);
  }
  INFO("relative " << relative << " absolute " << absolute);
  CHECK(relative < 2e-7);
  CHECK(absolute < 1e-7);
}

TEST_CASE("polynomial: log2 is exact for powers of two, and low for what is no normal float") {
  for (int e = -126; e <= 127; ++e) CHECK(log2_f32(std::ldexp(1.0f, e)) == static_cast<float>(e));
  for (const float x : {0.0f, 1e-45f, 1e-39f}) {
    CHECK(log2_f32(x) <= -126.0f);
    CHECK(log2_f32(x) >= -128.0f);
  }
}

TEST_CASE("polynomial: log2 and exp2 do not decrease by more than their error") {
  float before = -200;
  for (std::uint32_t bits = 0x3e000000u; bits < 0x40000000u; bits += 3) {
    const float y = log2_f32(bits_float(bits));
    if (y < before - 1e-7f - 2e-7f * std::fabs(y)) FAIL(bits_float(bits));
    before = std::max(before, y);
  }
}

TEST_CASE("polynomial: exp2 is within its bound over a dense sweep of its range") {
  double relative = 0;
  const auto compare = [&](float x) {
    const double exact = std::exp2(double{x});
    relative = std::max(relative, std::fabs(exp2_f32(x) - exact) / exact);
  };
  for (std::uint32_t i = 0; i < 1u << 24; i += 5) {
    const float x = static_cast<float>(i) * 0x1p-23f - 1.0f;  // [-1, 1) on its finest common grid
    compare(x);
  }
  for (std::uint32_t i = 0; i < 1u << 22; ++i) compare(static_cast<float>(i) * 6e-5f - 126.0f);
  for (float x = 1.0f; x > 1e-30f; x *= 0.9f) {
    compare(x);
    compare(-x);
  }
  INFO("relative " << relative);
  CHECK(relative < 1.5e-7);
}

TEST_CASE("polynomial: exp2 is exact for integers, and clamped where a normal float ends") {
  for (int e = -126; e <= 127; ++e) CHECK(exp2_f32(static_cast<float>(e)) == std::ldexp(1.0f, e));
  CHECK(exp2_f32(-1000.0f) == 0x1p-126f);
  CHECK(exp2_f32(1000.0f) == 0x1p127f);
  CHECK(exp2_f32(std::nanf("")) == 0x1p-126f);
}
