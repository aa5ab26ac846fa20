// The update rules against their papers' formulas in double precision, three steps each, with decay and with gradients
// that clipping shrinks; and ECO's injection in the first steps, where bias corrections are far from 1.
#include <numeric>

#include "optim/step_support.h"

using namespace bittern;

namespace {

using Doubles = std::vector<double>;

constexpr std::int64_t rows = 6, cols = 75;
constexpr std::size_t n = rows * cols, width = cols;
constexpr double lr = 2e-2, beta1 = 0.8, beta2 = 0.9, eps = 1e-3, decay = 0.5, clip = 0.5;

Doubles doubles(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}
Doubles doubles(const float* x) {
  return {x, x + n};
}

/// Gradients of step t as the rule gets them: of another size at each step, and clipped.
std::vector<float> gradients(int t) {
  constexpr float size[] = {1.0f, 3.0f, 0.4f};
  return normals(n, static_cast<std::uint32_t>(t), size[t - 1]);
}

void check_close(const Doubles& actual, const Doubles& expected, double relative, double absolute) {
  REQUIRE(actual.size() == expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i)
    worst = std::max(worst, std::fabs(actual[i] - expected[i]) / (absolute + relative * std::fabs(expected[i])));
  CHECK(worst <= 1);
}

StepOptions options_of(UpdateRule rule, std::string_view v = "f32") {
  StepOptions options{.shape = Shape{rows, cols}, .v = v, .rule = rule};
  options.options = {.lr = lr, .beta1 = beta1, .beta2 = beta2, .eps = eps, .weight_decay = decay};
  return options;
}

/// Adafactor (Shazeer & Stern 2018, algorithm 5 with a given rate): what its second moment is kept in differs.
struct Adafactor {
  bool factored;
  Doubles w, m = Doubles(n, 0), v = Doubles(n, 0), row = Doubles(rows, 0), column = Doubles(cols, 0);
  double root_mean_square = 0;

  void step(const Doubles& g, int t) {
    const double b2 = 1 - std::pow(t, -0.8);
    Doubles square(n), u(n);
    for (std::size_t i = 0; i < n; ++i) square[i] = g[i] * g[i] + 1e-30;
    if (factored) {
      Doubles row_mean(rows, 0), column_mean(cols, 0);
      for (std::size_t i = 0; i < n; ++i) {
        row_mean[i / width] += square[i] / cols;
        column_mean[i % width] += square[i] / rows;
      }
      for (std::size_t r = 0; r < rows; ++r) row[r] = b2 * row[r] + (1 - b2) * row_mean[r];
      for (std::size_t c = 0; c < width; ++c) column[c] = b2 * column[c] + (1 - b2) * column_mean[c];
      const double mean = std::accumulate(row.begin(), row.end(), 0.0) / rows;
      for (std::size_t i = 0; i < n; ++i) v[i] = row[i / width] * column[i % width] / mean;
    } else {
      for (std::size_t i = 0; i < n; ++i) v[i] = b2 * v[i] + (1 - b2) * square[i];
    }
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      u[i] = g[i] / std::sqrt(v[i]);
      sum += u[i] * u[i];
    }
    root_mean_square = std::sqrt(sum / n);
    for (std::size_t i = 0; i < n; ++i) {
      m[i] = beta1 * m[i] + (1 - beta1) * u[i] / std::max(1.0, root_mean_square / 1.0);
      w[i] = (1 - lr * decay) * w[i] - lr * m[i];
    }
  }
};

}  // namespace

TEST_CASE("sgdm: three steps with decoupled decay are the moving average's formula") {
  const TestBackend backend(make_cpu_backend(1));
  const std::vector<float> start = normals(n, 0);
  StoredParameter p(*backend, options_of(UpdateRule::sgdm), start);
  p.clip = static_cast<float>(clip);
  Doubles w = doubles(start), m(n, 0);
  for (int t = 1; t <= 3; ++t) {
    const Doubles g = doubles(gradients(t));
    p.step(gradients(t), t);
    for (std::size_t i = 0; i < n; ++i) {
      m[i] = beta1 * m[i] + (1 - beta1) * clip * g[i];
      w[i] = w[i] - lr * decay * w[i] - lr * m[i];
    }
    check_close(doubles(p.weights()), w, 1e-6, 1e-7);
    check_close(doubles(p.m_values()), m, 1e-6, 1e-7);
  }
}

TEST_CASE("adamw: three steps with decay are the formula, bias corrections and eps outside the root") {
  const TestBackend backend(make_cpu_backend(1));
  const std::vector<float> start = normals(n, 0);
  StoredParameter p(*backend, options_of(UpdateRule::adamw), start);
  p.clip = static_cast<float>(clip);
  Doubles w = doubles(start), m(n, 0), v(n, 0);
  for (int t = 1; t <= 3; ++t) {
    const Doubles g = doubles(gradients(t));
    p.step(gradients(t), t);
    for (std::size_t i = 0; i < n; ++i) {
      m[i] = beta1 * m[i] + (1 - beta1) * clip * g[i];
      v[i] = beta2 * v[i] + (1 - beta2) * clip * g[i] * clip * g[i];
      const double m_hat = m[i] / (1 - std::pow(beta1, t)), v_hat = v[i] / (1 - std::pow(beta2, t));
      w[i] = w[i] - lr * decay * w[i] - lr * m_hat / (std::sqrt(v_hat) + eps);
    }
    check_close(doubles(p.weights()), w, 2e-6, 2e-7);
    check_close(doubles(p.v_values()), v, 2e-6, 1e-9);
  }
}

TEST_CASE("adafactor: three steps with decay are the formula, with v whole and factored, clipped and not") {
  const TestBackend backend(make_cpu_backend(2));
  for (const bool factored : {false, true}) {
    CAPTURE(factored);
    const std::vector<float> start = normals(n, 0);
    StoredParameter p(*backend, options_of(UpdateRule::adafactor, factored ? "factored" : "f32"), start);
    p.clip = static_cast<float>(clip);
    Adafactor expected{.factored = factored, .w = doubles(start)};
    int clipped = 0;
    for (int t = 1; t <= 3; ++t) {
      Doubles g = doubles(gradients(t));
      for (double& x : g) x *= clip;
      p.step(gradients(t), t);
      expected.step(g, t);
      clipped += expected.root_mean_square > 1.01;
      check_close(doubles(p.weights()), expected.w, 1e-5, 1e-6);
      check_close(doubles(p.m_values()), expected.m, 1e-5, 1e-6);
      if (factored) {
        check_close(doubles(p.v_row()), expected.row, 1e-5, 1e-9);
        check_close(doubles(p.v_column()), expected.column, 1e-5, 1e-9);
      } else {
        check_close(doubles(p.v_values()), expected.v, 1e-5, 1e-9);
      }
    }
    CHECK((clipped >= 1 && clipped <= 2));  // both ways are gone
  }
}

TEST_CASE("adafactor: a gradient of 0 moves nothing, and divides by its own 1e-30") {
  const TestBackend backend(make_cpu_backend(1));
  StoredParameter p(*backend, options_of(UpdateRule::adafactor), std::vector<float>(n, 1.0f));
  p.step(std::vector<float>(n, 0.0f), 1);
  for (const float w : p.weights()) CHECK(static_cast<double>(w) == Approx(1 - lr * decay));
  for (std::size_t i = 0; i < n; ++i) CHECK(static_cast<double>(p.v_values()[i]) == Approx(1e-30));
}

TEST_CASE("eco: in the first steps the injection is that of algorithms 2 and 3, with decay and bias corrections") {
  // From what is stored before a step, all that is stored after it but for the codes themselves, which are read back:
  //   adamw      m += (1 - beta1^t) / lr (1 - 1 / beta1) (sqrt(v / (1 - beta2^t)) + eps) e
  //   sgdm       m += 1 / lr (1 - 1 / beta1) e; adafactor, whose m is of normalised gradients, alike
  const TestBackend backend(make_cpu_backend(1));
  for (const UpdateRule rule : {UpdateRule::adamw, UpdateRule::sgdm, UpdateRule::adafactor})
    for (const bool decay_factor : {false, true})
      for (const Rounding rounding : {Rounding::nearest, Rounding::stochastic}) {
        INFO(info(rule).name << (decay_factor ? " with the decay factor" : ""));
        StepOptions options = options_of(rule);
        options.weight = {
            .storage = WeightStorage::fp8_e4m3, .rounding = rounding, .error_feedback = ErrorFeedback::eco};
        options.options.eco_decay_factor = decay_factor;
        StoredParameter p(*backend, options, normals(n, 0));
        p.clip = static_cast<float>(clip);
        Adafactor adafactor{.factored = false, .w = {}};
        double injected = 0;
        for (int t = 1; t <= 3; ++t) {
          CAPTURE(t);
          const Doubles w = doubles(p.weights()), before = doubles(p.m_values());
          Doubles g = doubles(gradients(t)), v(n, 0), v_before = rule == UpdateRule::sgdm ? v : doubles(p.v_values());
          for (double& x : g) x *= clip;
          p.step(gradients(t), t);
          const Doubles rounded = doubles(p.weights());
          const double correction1 = rule == UpdateRule::adamw ? 1 - std::pow(beta1, t) : 1.0;
          if (rule == UpdateRule::adafactor) {
            adafactor.w = w;
            adafactor.m = before;
            adafactor.step(g, t);
          }
          Doubles m(n);
          for (std::size_t i = 0; i < n; ++i) {
            double denominator = 1;
            if (rule == UpdateRule::adamw) {
              v[i] = beta2 * v_before[i] + (1 - beta2) * g[i] * g[i];
              denominator = std::sqrt(v[i] / (1 - std::pow(beta2, t))) + eps;
            }
            m[i] = rule == UpdateRule::adafactor ? adafactor.m[i] : beta1 * before[i] + (1 - beta1) * g[i];
            const double updated = (1 - lr * decay) * w[i] - lr / correction1 * m[i] / denominator;
            const double e = updated - rounded[i];
            const double injection = correction1 / lr * (1 - 1 / beta1) * denominator * e;
            m[i] += decay_factor ? (1 - lr * decay) * injection : injection;
            injected += std::fabs(injection);
          }
          // e is exact to a rounding of w: 1e-7, which the gain 1 / (4 lr) makes 1e-6. Without the decay factor, 1 %
          // of the injection, all would be out of bounds.
          check_close(doubles(p.m_values()), m, 1e-5, 5e-6);
          if (rule == UpdateRule::adamw) check_close(doubles(p.v_values()), v, 1e-5, 1e-9);
        }
        CHECK(injected / (3 * n) > 0.01);
      }
}

TEST_CASE("eco: the cap is in roots of the bias-corrected second moment, from the first step") {
  const TestBackend backend(make_cpu_backend(1));
  StepOptions options = options_of(UpdateRule::adamw);
  options.weight = {.storage = WeightStorage::fp8_e4m3, .error_feedback = ErrorFeedback::eco};
  options.options.eco_cap = 0.05;
  StoredParameter p(*backend, options, normals(n, 0));
  const Doubles w = doubles(p.weights()), g = doubles(gradients(1));
  p.step(gradients(1), 1);
  const Doubles rounded = doubles(p.weights());
  std::size_t capped = 0;
  for (std::size_t i = 0; i < n; ++i) {
    // At t = 1 the corrected moments are g and g^2: the update is lr g / (|g| + eps).
    const double root = std::fabs(g[i]), updated = (1 - lr * decay) * w[i] - lr * g[i] / (root + eps);
    const double injection = (1 - beta1) / lr * (1 - 1 / beta1) * (root + eps) * (updated - rounded[i]);
    const double within = std::clamp(injection, -0.05 * root, 0.05 * root);
    capped += within != injection;
    CHECK(std::fabs(static_cast<double>(p.m_values()[i]) - ((1 - beta1) * g[i] + within)) < 5e-6);
  }
  CHECK((capped > n / 8 && capped < n * 7 / 8));
}
