// DQT (arXiv 2412.04787): integer weights without master, a scale that never changes, stochastic rounding.
#include "optim/step_support.h"

using namespace bittern;

namespace {

WeightCodec dqt(std::int64_t bits, Rounding rounding = Rounding::stochastic) {
  return {.storage = WeightStorage::integer,
          .bits = bits,
          .range = IntegerRange::full,
          .scale_per = ScalePer::tensor,
          .scale_from = ScaleFrom::absmean,
          .scale_update = ScaleUpdate::fixed,
          .rounding = rounding};
}
WeightCodec dqt_ternary(Rounding rounding = Rounding::stochastic) {
  WeightCodec codec = dqt(2, rounding);
  codec.storage = WeightStorage::ternary;
  return codec;
}
/// N(0, 0.02), as a LLaMA begins.
std::vector<float> initial(std::int64_t n) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto word = [&](std::uint32_t k) {
      return (philox(philox_key(3, Purpose::test), static_cast<std::uint64_t>(i), k, 0) + 0.5) / 4294967296.0;
    };
    values.push_back(static_cast<float>(0.02 * std::sqrt(-2 * std::log(word(0))) * std::cos(6.283185307 * word(1))));
  }
  return values;
}

/// The part of the weights that change when |lr * u| = 1e-5 in directions that do not depend on the weights.
double flip_rate(const WeightCodec& codec) {
  const TestBackend backend(make_cpu_backend(2));
  const std::int64_t rows = 256, cols = 1024, n = rows * cols;
  StepOptions options{.shape = Shape{rows, cols}, .weight = codec, .rule = UpdateRule::sgdm};
  options.options = {.lr = 1e-5, .beta1 = 0, .beta2 = 0, .eps = 0, .weight_decay = 0};
  StoredParameter p(*backend, options, initial(n));
  p.with_statistics = true;
  double changed = 0, expected = 0;
  const int steps = 4;
  for (int t = 1; t <= steps; ++t) {
    std::vector<float> g = normals(n, static_cast<std::uint32_t>(t));
    for (float& x : g) x = x > 0 ? 1.0f : -1.0f;
    const std::vector<int> before = p.weight_codes();
    p.step(g, t);
    const std::vector<int> after = p.weight_codes();
    std::size_t differ = 0;
    for (std::size_t i = 0; i < before.size(); ++i) differ += before[i] != after[i];
    CHECK(p.statistic(StepStatistic::changed) == static_cast<float>(differ));
    changed += static_cast<double>(differ);
    expected += static_cast<double>(p.statistic(StepStatistic::expected_changed));
  }
  if (codec.rounding == Rounding::stochastic) CHECK(std::fabs(changed - expected) < 5 * std::sqrt(expected));
  return changed / static_cast<double>(n) / steps;
}

}  // namespace

TEST_CASE("dqt: the first grid is the absolute mean over the highest level, and clips as the method's does") {
  const TestBackend backend(make_cpu_backend(1));
  const std::int64_t n = 512 * 512;
  const struct {
    WeightCodec codec;
    double scale, lowest, zero, highest;
  } rows[] = {{dqt_ternary(), 1.596e-2, 0.345, 0.310, 0.345},
              {dqt(3), 5.32e-3, 0.176, 0.106, 0.253},
              {dqt(4), 2.28e-3, 0.196, 0.045, 0.229},
              {dqt(8), 1.257e-4, 0.212, 0.0025, 0.213}};
  for (const auto& row : rows) {
    StoredParameter p(*backend, {.shape = Shape{512, 512}, .weight = row.codec}, initial(n));
    CHECK(p.weight_scales()[0] == Approx(row.scale).epsilon(0.01));
    CHECK(p.weight_scales()[511] == p.weight_scales()[0]);
    double lowest = 0, zero = 0, highest = 0;
    for (const int code : p.weight_codes()) {
      lowest += code == row.codec.lowest();
      zero += code == 0;
      highest += code == row.codec.highest();
    }
    CHECK(lowest / n == Approx(row.lowest).margin(0.005));
    CHECK(zero / n == Approx(row.zero).margin(0.005));
    CHECK(highest / n == Approx(row.highest).margin(0.005));
  }
}

TEST_CASE("dqt: the scale is the same after many steps, and levels stay within the grid") {
  const TestBackend backend(make_cpu_backend(1));
  for (const WeightCodec& codec : {dqt_ternary(), dqt(3), dqt(5), dqt(8)}) {
    StoredParameter p(*backend, {.shape = Shape{4, 70}, .weight = codec}, initial(280));
    const std::vector<float> scales = p.weight_scales();
    for (int t = 1; t <= 2000; ++t) p.step(normals(280, static_cast<std::uint32_t>(t % 7)), t);
    CHECK(p.weight_scales() == scales);
    for (const int code : p.weight_codes()) CHECK((code >= codec.lowest() && code <= codec.highest()));
  }
}

TEST_CASE("dqt: a weight pushed beyond its grid stays at the end") {
  const TestBackend backend(make_cpu_backend(1));
  StoredParameter p(*backend, {.shape = Shape{2, 33}, .weight = dqt(4)}, initial(66));
  std::vector<float> g(66, 1.0f);
  for (std::size_t i = 0; i < 33; ++i) g[i] = -1.0f;
  p.with_statistics = true;
  for (int t = 1; t <= 20; ++t) p.step(g, t);
  for (std::size_t i = 0; i < 66; ++i) CHECK(p.weight_codes()[i] == (i < 33 ? 7 : -8));
  CHECK(p.statistic(StepStatistic::saturated) == 66.0f);
}

TEST_CASE("dqt: as many weights change as the paper reports for |lr u| = 1e-5") {
  CHECK(flip_rate(dqt_ternary()) == Approx(0.00040).epsilon(0.2));
  CHECK(flip_rate(dqt(8)) == Approx(0.063).epsilon(0.05));
}

TEST_CASE("dqt: ternary weights rounded to nearest never change") {
  CHECK(flip_rate(dqt_ternary(Rounding::nearest)) == 0.0);
}

TEST_CASE("dqt: stochastic rounding is unbiased within the grid") {
  const TestBackend backend(make_cpu_backend(1));
  const std::int64_t n = 40000;
  for (const WeightCodec& codec : {dqt_ternary(), dqt(4), dqt(8)}) {
    // All weights 0 but one that sets the scale; one step moves all by the same amount.
    std::vector<float> w(static_cast<std::size_t>(n), 0.0f);
    StepOptions options{.shape = Shape{1, n}, .weight = codec, .rule = UpdateRule::sgdm};
    options.options = {.lr = 1, .beta1 = 0, .beta2 = 0, .eps = 0, .weight_decay = 0};
    StoredParameter p(*backend, options, w);
    const double scale = p.weight_scales()[0];
    const double move = 0.3 * scale;
    p.step(std::vector<float>(static_cast<std::size_t>(n), static_cast<float>(-move)), 1);
    double mean = 0;
    for (const float x : p.weights()) mean += x;
    mean /= static_cast<double>(n);
    CHECK(std::fabs(mean - move) < 4 * scale * std::sqrt(0.3 * 0.7 / static_cast<double>(n)));
  }
}
