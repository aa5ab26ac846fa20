// Weight decay is what the config says at any learning rate, also where lr * weight_decay * w is far below the spacing of
// floats near w: the difference between a step with decay and the same step without, summed over many weights.
#include <numeric>

#include "optim/step_support.h"

using namespace bittern;

namespace {

constexpr std::int64_t rows = 512, cols = 1024;
constexpr long long update = 10;  // Adam's t

double sum(const std::vector<float>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0);
}

/// What decay took from the weights in one update, over what lr * weight_decay * w says. Gradients are random, so the
/// update moves weights by some spacings of their floats, and rounding is even in the mean.
double measured_decay(StepOptions options, double lr, double weight_decay, int repetitions) {
  const TestBackend backend(make_cpu_backend(2));
  const std::vector<float> normal = normals(rows * cols, 1, 0.01f), g = normals(rows * cols, 2, 2.0f);
  std::vector<float> positive(normal.size());
  std::ranges::transform(normal, positive.begin(), [](float x) { return 0.02f + x / 4; });  // 0.015 to 0.025
  options.shape = Shape{rows, cols};
  const auto after = [&](double decay, int repetition) {
    options.options = {.lr = lr, .beta1 = 0.5, .beta2 = 0.95, .eps = 1e-8, .weight_decay = decay};
    StoredParameter parameter(*backend, options, positive);
    // With v = 0 the first updates would be lr times a sign: all rounded alike.
    if (info(options.rule).has_second_moment) std::fill_n(parameter.v_values(), rows * cols, 1.0f);
    parameter.step_with(g, info(options.rule).constants(options.options, update), repetition + 1);
    return parameter.weights();
  };
  double took = 0;
  for (int i = 0; i < repetitions; ++i) took += sum(after(0, i)) - sum(after(weight_decay, i));
  return took / (lr * weight_decay * sum(positive) * repetitions);
}

}  // namespace

TEST_CASE("decay: every rule takes lr * weight_decay of an f32 weight, for rates from 1e-8 to 1e-3") {
  for (const UpdateRule rule : {UpdateRule::adamw, UpdateRule::sgdm, UpdateRule::adafactor})
    for (const double lr : {1e-8, 1e-7, 2e-7, 1e-6, 1e-5, 1e-4, 1e-3}) {
      INFO(info(rule).name << " at lr " << lr);
      // The spacing of floats at 0.02 is 1.9e-9: the mean of 5e5 roundings is known to 1e-12, a tenth of decay at 1e-8.
      const double tolerance = 0.01 + 0.15 * std::min(1.0, 1e-8 / lr);
      CHECK(std::abs(measured_decay({.rule = rule}, lr, 0.1, 1) - 1) < tolerance);
    }
}

TEST_CASE("decay: stochastic rounding keeps it in the mean, for rates from 1e-8 to 1e-3") {
  StepOptions options;
  options.weight = {.storage = WeightStorage::bf16, .rounding = Rounding::stochastic};
  // The spacing of bf16 at 0.02 is 1.2e-4, so so many codes are moved by decay, and its mean is known to their root.
  const struct {
    double lr, weight_decay;
    int repetitions;
  } cases[] = {{1e-8, 100, 2}, {1e-7, 10, 2}, {1e-6, 1, 2}, {1e-5, 0.1, 2}, {1e-4, 0.1, 1}, {1e-3, 0.1, 1}};
  for (const UpdateRule rule : {UpdateRule::adamw, UpdateRule::sgdm, UpdateRule::adafactor})
    for (const auto& [lr, weight_decay, repetitions] : cases) {
      options.rule = rule;
      INFO(info(rule).name << " at lr " << lr << ", weight decay " << weight_decay);
      const double moved = lr * weight_decay * 0.02 / 1.2e-4 * static_cast<double>(rows * cols) * repetitions;
      CHECK(std::abs(measured_decay(options, lr, weight_decay, repetitions) - 1) < 0.01 + 5 / std::sqrt(moved));
    }
}
