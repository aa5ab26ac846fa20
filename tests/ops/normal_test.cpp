#include "bittern/normal.h"

#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "catch.h"
#include "ops/cpu/machine/parallel.h"

using namespace bittern;

namespace {

const PhiloxKey key = philox_key(7, Purpose::init);

std::vector<float> filled(std::size_t n, std::uint32_t stream = 3) {
  std::vector<float> values(n + 1, -100.0f);
  fill_normal(std::span(values).first(n), 0.02, key, stream);
  REQUIRE(values[n] == -100.0f);
  values.pop_back();
  return values;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b, std::size_t n) {
  return std::memcmp(a.data(), b.data(), n * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("fill_normal: an element depends on its address, not on threads or on how many follow") {
  cpu::set_thread_count(1);
  const std::vector<float> once = filled(100003);
  for (const int threads : {2, 3, 8}) {
    cpu::set_thread_count(threads);
    CHECK(same_bits(filled(100003), once, once.size()));
  }
  cpu::set_thread_count(0);
  for (const std::size_t n : {0, 1, 2, 3, 5, 16383, 16385}) CHECK(same_bits(filled(n), once, n));
  CHECK_FALSE(same_bits(filled(8, 4), once, 8));
}

TEST_CASE("fill_normal is Box-Muller on the halves of a Philox block") {
  const std::vector<float> values = filled(40000);
  for (const std::size_t i : {0, 2, 4, 16382, 16384, 39998}) {
    const PhiloxBlock block = philox_block(key, i, 0, 3);
    const std::size_t half = i % 4;
    const double radius = 0.02 * std::sqrt(-2.0 * std::log((block.word[half] + 1.0) * 0x1p-32));
    const double angle = 2.0 * std::numbers::pi * block.word[half + 1] * 0x1p-32;
    CHECK(values[i] == Approx(radius * std::cos(angle)));
    CHECK(values[i + 1] == Approx(radius * std::sin(angle)));
  }
}

TEST_CASE("fill_normal: mean 0, the deviation asked for, and a normal's tails") {
  const std::vector<float> values = filled(1 << 20);
  double sum = 0, squares = 0;
  int beyond_two = 0;
  for (const float v : values) {
    sum += v;
    squares += static_cast<double>(v) * v;
    beyond_two += std::abs(v) > 0.04f;
  }
  const double n = static_cast<double>(values.size());
  CHECK(std::abs(sum / n) < 5 * 0.02 / std::sqrt(n));
  CHECK(std::sqrt(squares / n) == Approx(0.02).epsilon(0.004));
  CHECK(beyond_two / n == Approx(0.0455).epsilon(0.02));
}
