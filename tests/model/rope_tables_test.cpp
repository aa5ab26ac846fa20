// Rotary tables: every frequency against a formula that is written another way, in long double.
#include "model/rope_tables.h"

#include <cmath>
#include <vector>

#include "catch.h"

using namespace bittern;

namespace {

/// llama3 as its authors describe it, by wavelengths: a wave longer than original / low is slowed down, one shorter than
/// original / high is kept, and between them the frequency is a mean of both.
long double by_wavelength(long double theta, int i, int head_dim, long double factor, long double low, long double high,
                          long double original) {
  const long double frequency =
      1.0L / powl(theta, static_cast<long double>(2 * i) / static_cast<long double>(head_dim));
  const long double wavelength = 2.0L * acosl(-1.0L) / frequency;
  if (wavelength < original / high) return frequency;
  if (wavelength > original / low) return frequency / factor;
  const long double smooth = (original / wavelength - low) / (high - low);
  return (1.0L - smooth) * frequency / factor + smooth * frequency;
}

const RopeScaling llama31{.rope_type = RopeType::llama3,
                          .factor = 8.0,
                          .low_freq_factor = 1.0,
                          .high_freq_factor = 4.0,
                          .original_max_position_embeddings = 8192};

}  // namespace

TEST_CASE("rope: llama3's frequencies are those of the formula by wavelengths") {
  int kept = 0, slowed = 0, between = 0;
  for (const double factor : {8.0, 32.0})  // LLaMA 3.1 and 3.2
    for (const int head_dim : {64, 128}) {
      RopeScaling scaling = llama31;
      scaling.factor = factor;
      for (int i = 0; i < head_dim / 2; ++i) {
        CAPTURE(factor, head_dim, i);
        const Rope rope{.theta = 5e5, .scaling = scaling}, plain{.theta = 5e5};
        const double is = frequency(rope, i, head_dim);
        CHECK(is == Approx(static_cast<double>(by_wavelength(5e5L, i, head_dim, factor, 1, 4, 8192))).epsilon(1e-13));
        const double unscaled = frequency(plain, i, head_dim);
        kept += is == unscaled;
        slowed += is == Approx(unscaled / factor).epsilon(1e-14);
        between += is < unscaled && is > unscaled / factor * (1 + 1e-9);
      }
    }
  CHECK((kept > 50 && slowed > 50 && between > 10));
}

TEST_CASE("rope: layers with the same rope share a table, others have their own") {
  const auto backend = make_cpu_backend(1);
  Plan plan;
  RopeTables tables;
  const Rope plain{.theta = 1e4}, scaled_rope{.theta = 1e4, .scaling = llama31};
  const TensorId a = tables.plan(plan, plain, 20000, 16), b = tables.plan(plan, scaled_rope, 20000, 16);
  CHECK(tables.plan(plan, plain, 20000, 16).index == a.index);
  CHECK(a.index != b.index);
  plan.lay_out();
  const Arena arena(*backend, plan);
  tables.bind(*backend, arena);
  std::vector<float> values(20000 * 16);
  for (const bool is_scaled : {false, true}) {
    backend->to_host(values.data(), arena.view(is_scaled ? b : a).data, static_cast<std::int64_t>(4 * values.size()));
    for (const int position : {0, 1, 777, 8191, 19999})
      for (int i = 0; i < 8; ++i) {
        CAPTURE(is_scaled, position, i);
        const long double per_position =
            is_scaled ? by_wavelength(1e4L, i, 16, 8, 1, 4, 8192) : powl(1e4L, -static_cast<long double>(i) / 8);
        const long double angle = static_cast<long double>(position) * per_position;
        const std::size_t row = static_cast<std::size_t>(position) * 16 + static_cast<std::size_t>(i);
        CHECK(std::fabs(static_cast<double>(cosl(angle)) - static_cast<double>(values[row])) < 1e-7);
        CHECK(std::fabs(static_cast<double>(sinl(angle)) - static_cast<double>(values[row + 8])) < 1e-7);
      }
  }
}
