// exp, log and sigmoid against double precision, everywhere and on every instruction set.
#include "ops/cpu/machine/vector_math.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "catch.h"
#include "ops/cpu/machine/simd.h"
#include "ops/every_isa.h"

using namespace bittern;
using cpu::log_f32;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity(), largest = std::numeric_limits<float>::max();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

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

/// Where exp is a normal float.
std::vector<float> exp_inputs() {
  std::vector<float> x = floats(1e-9f, 88.3f, 997);
  for (const float v : floats(1e-9f, 87.0f, 997)) x.push_back(-v);
  return x;
}

// Both forms under names that a table can hold.
struct Form {
  const char* name;
  float (*exp)(float);
  float (*sigmoid)(float);
};
constexpr Form forms[] = {{"plain", cpu::exp_f32<false>, cpu::sigmoid_f32<false>},
                          {"fused", cpu::exp_f32<true>, cpu::sigmoid_f32<true>}};

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

TEST_CASE("exp is within 2.5 ulp of the true value") {
  for (const Form& form : forms) {
    double worst = 0;
    for (const float x : exp_inputs()) worst = std::max(worst, ulps(form.exp(x), std::exp(static_cast<double>(x))));
    CAPTURE(form.name, worst);
    CHECK(worst < 2.5);
  }
}

TEST_CASE("log is within 2.5 ulp of the true value") {
  double worst = 0;
  for (const float x : floats(0x1p-149f, std::numeric_limits<float>::max(), 1009))
    worst = std::max(worst, ulps(log_f32(x), std::log(static_cast<double>(x))));
  for (const float x : floats(0.9f, 1.1f, 13))
    worst = std::max(worst, ulps(log_f32(x), std::log(static_cast<double>(x))));
  CAPTURE(worst);
  CHECK(worst < 2.5);
}

TEST_CASE("sigmoid is within 4 ulp of the true value") {
  for (const Form& form : forms) {
    double worst = 0;
    for (const float x : exp_inputs())
      worst = std::max(worst, ulps(form.sigmoid(x), 1 / (1 + std::exp(-static_cast<double>(x)))));
    CAPTURE(form.name, worst);
    CHECK(worst < 4.0);
  }
}

TEST_CASE("exp and sigmoid at the ends of the range, of infinities and of NaN") {
  for (const Form& form : forms) {
    INFO(form.name);
    CHECK(form.exp(0.0f) == 1.0f);
    CHECK(form.exp(-0.0f) == 1.0f);
    for (const float low : {-87.1f, -100.0f, -1000.0f, -largest, -infinity}) CHECK(form.exp(low) == 0.0f);
    for (const float high : {88.5f, 100.0f, 1000.0f, largest, infinity}) CHECK(form.exp(high) == infinity);
    CHECK(std::isnan(form.exp(not_a_number)));
    CHECK(std::isnan(form.exp(-not_a_number)));
    CHECK(std::isnan(form.exp(bits_float(0x7fffffffu))));
    CHECK(form.sigmoid(-infinity) == 0.0f);
    CHECK(form.sigmoid(-1000.0f) == 0.0f);
    CHECK(form.sigmoid(infinity) == 1.0f);
    CHECK(std::isnan(form.sigmoid(not_a_number)));
  }
}

TEST_CASE("log at the ends of the range, of infinities and of NaN") {
  CHECK(log_f32(1.0f) == 0.0f);
  CHECK(log_f32(0.0f) == -infinity);
  CHECK(log_f32(infinity) == infinity);
  CHECK(std::isnan(log_f32(-1.0f)));
  CHECK(std::isnan(log_f32(-infinity)));
  CHECK(std::isnan(log_f32(not_a_number)));
}

namespace {

bool same_floats(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (float_bits(a[i]) != float_bits(b[i]) && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  return a.size() == b.size();
}

/// One form inside simd() makes the same bits on every instruction set.
template <bool fused>
void check_same_bits(const std::vector<float>& x) {
  std::vector<float> exps, logs, sigmoids;
  cpu::on_every_isa([&] {
    INFO("fused: " << fused);
    const std::vector<float> e = map(x, [](float v) { return cpu::exp_f32<fused>(v); });
    const std::vector<float> l = map(x, [](float v) { return log_f32(v); });
    const std::vector<float> s = map(x, [](float v) { return cpu::sigmoid_f32<fused>(v); });
    if (exps.empty()) exps = e, logs = l, sigmoids = s;
    CHECK(same_floats(exps, e));
    CHECK(same_floats(logs, l));
    CHECK(same_floats(sigmoids, s));
  });
}

}  // namespace

TEST_CASE("exp, log and sigmoid make the same bits on every instruction set") {
  std::vector<float> x = exp_inputs();
  for (const float special : {0.0f, infinity, -infinity, largest, 1e-45f, not_a_number, 200.0f, -200.0f})
    x.push_back(special);
  check_same_bits<false>(x);
  check_same_bits<true>(x);
}

TEST_CASE("sum_over and max_over take every element once, and have the same bits on every instruction set") {
  for (std::int64_t n = 0; n <= 200; ++n) {
    std::vector<float> x;
    for (std::int64_t i = 0; i < n; ++i) x.push_back(static_cast<float>((i * 37) % 101));
    std::vector<float> sums;
    cpu::on_every_isa([&] {
      float sum = 0, largest_x = 0, inexact = 0;
      cpu::simd([&] {
        sum = cpu::sum_over(n, [&](std::int64_t i) { return x[static_cast<std::size_t>(i)]; });
        inexact = cpu::sum_over(n, [&](std::int64_t i) { return x[static_cast<std::size_t>(i)] * 0.1f; });
        largest_x = cpu::max_over(n, -1.0f, [&](std::int64_t i) { return x[static_cast<std::size_t>(i)]; });
      });
      REQUIRE(sum == std::accumulate(x.begin(), x.end(), 0.0f));
      REQUIRE(largest_x == (x.empty() ? -1.0f : *std::max_element(x.begin(), x.end())));
      sums.push_back(inexact);
    });
    REQUIRE(sums == std::vector<float>(sums.size(), sums[0]));
  }
}
