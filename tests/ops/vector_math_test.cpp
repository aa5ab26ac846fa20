// exp, log and sigmoid against double precision, everywhere and on every instruction set.
#include "ops/cpu/vector_math.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "catch.h"
#include "ops/cpu/cpu_features.h"
#include "ops/cpu/simd.h"

using namespace bittern;
using cpu::exp_f32;
using cpu::log_f32;
using cpu::sigmoid_f32;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// |actual - exact| in units of the last place of the float nearest to exact.
double ulps(float actual, double exact) {
  const float nearest = std::abs(static_cast<float>(exact));
  const double ulp =
      std::max(static_cast<double>(std::nextafter(nearest, infinity)) - static_cast<double>(nearest), 0x1p-149);
  return std::abs(static_cast<double>(actual) - exact) / ulp;
}

/// Floats over the whole of [low, high], in steps of `step` bit patterns (both of one sign).
std::vector<float> floats(float low, float high, std::uint32_t step) {
  std::vector<float> out;
  for (std::uint64_t bits = float_bits(low); bits <= float_bits(high); bits += step)
    out.push_back(bits_float(static_cast<std::uint32_t>(bits)));
  return out;
}

std::vector<float> exp_inputs() {
  std::vector<float> x = floats(1e-9f, 88.7f, 997);
  for (const float v : floats(1e-9f, 103.0f, 997)) x.push_back(-v);
  return x;
}

template <class F>
std::vector<float> map(const std::vector<float>& x, F f) {
  std::vector<float> y(x.size());
  cpu::simd([&] {
    const float* from = x.data();
    float* to = y.data();
    const auto n = static_cast<std::int64_t>(x.size());
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) to[i] = f(from[i]);
  });
  return y;
}

}  // namespace

TEST_CASE("exp is within 2 ulp of the true value") {
  double worst = 0;
  for (const float x : exp_inputs()) worst = std::max(worst, ulps(exp_f32(x), std::exp(static_cast<double>(x))));
  CAPTURE(worst);
  CHECK(worst < 2.0);
}

TEST_CASE("log is within 2 ulp of the true value") {
  double worst = 0;
  for (const float x : floats(0x1p-149f, std::numeric_limits<float>::max(), 1009))
    worst = std::max(worst, ulps(log_f32(x), std::log(static_cast<double>(x))));
  for (const float x : floats(0.9f, 1.1f, 13))
    worst = std::max(worst, ulps(log_f32(x), std::log(static_cast<double>(x))));
  CAPTURE(worst);
  CHECK(worst < 2.0);
}

TEST_CASE("sigmoid is within 4 ulp of the true value, and 0 where that is below 1e-38") {
  double worst = 0;
  for (const float x : exp_inputs())
    if (x < -88.0f)
      CHECK(sigmoid_f32(x) < 1e-38f);
    else
      worst = std::max(worst, ulps(sigmoid_f32(x), 1 / (1 + std::exp(-static_cast<double>(x)))));
  CAPTURE(worst);
  CHECK(worst < 4.0);
}

TEST_CASE("exp, log and sigmoid at the ends of the range, of infinities and of NaN") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), largest = std::numeric_limits<float>::max();
  CHECK(exp_f32(0.0f) == 1.0f);
  CHECK(exp_f32(-0.0f) == 1.0f);
  CHECK(exp_f32(-infinity) == 0.0f);
  CHECK(exp_f32(-largest) == 0.0f);
  CHECK(exp_f32(infinity) == infinity);
  CHECK(exp_f32(largest) == infinity);
  CHECK(exp_f32(89.0f) == infinity);
  CHECK(std::isfinite(exp_f32(88.72f)));
  CHECK(std::isnan(exp_f32(nan)));
  CHECK(log_f32(1.0f) == 0.0f);
  CHECK(log_f32(0.0f) == -infinity);
  CHECK(log_f32(infinity) == infinity);
  CHECK(std::isnan(log_f32(-1.0f)));
  CHECK(std::isnan(log_f32(-infinity)));
  CHECK(std::isnan(log_f32(nan)));
  CHECK(sigmoid_f32(-infinity) == 0.0f);
  CHECK(sigmoid_f32(infinity) == 1.0f);
  CHECK(std::isnan(sigmoid_f32(nan)));
}

TEST_CASE("exp, log and sigmoid make the same bits on every instruction set") {
  const cpu::Isa before = cpu::isa();
  std::vector<float> x = exp_inputs();
  for (const float special : {0.0f, infinity, -infinity, std::numeric_limits<float>::max(), 1e-45f})
    x.push_back(special);
  const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
    for (std::size_t i = 0; i < a.size(); ++i)
      if (float_bits(a[i]) != float_bits(b[i]) && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
    return true;
  };
  std::array<std::vector<float>, 3> plain;
  for (std::size_t i = 0; i < x.size(); ++i) {
    plain[0].push_back(exp_f32(x[i]));
    plain[1].push_back(log_f32(x[i]));
    plain[2].push_back(sigmoid_f32(x[i]));
  }
  for (const cpu::Isa isa : cpu::available_isas()) {
    INFO("instruction set " << cpu::name(isa));
    cpu::set_isa(isa);
    CHECK(same(plain[0], map(x, [](float v) { return exp_f32(v); })));
    CHECK(same(plain[1], map(x, [](float v) { return log_f32(v); })));
    CHECK(same(plain[2], map(x, [](float v) { return sigmoid_f32(v); })));
  }
  cpu::set_isa(before);
}
