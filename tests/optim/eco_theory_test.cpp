// ECO's theory (arXiv 2601.22101, appendix C): the noisy quadratic in closed form, a quadratic on a real grid, and the
// exact rule that keeps the last error, for AdamW with warm-up, cosine, decay and bias corrections.
#include <array>

#include "optim/step_support.h"

using namespace bittern;

namespace {

enum class Method { master, naive, eco };

/// One step of f = x^2 / 2 with rounding that adds xi: the rule's own element math, as the step applies it.
std::array<double, 2> step_of(Method method, std::array<double, 2> state, double xi, const RuleConstants& c) {
  auto w = static_cast<float>(state[0]), m = static_cast<float>(state[1]);
  const auto noise = static_cast<float>(xi);
  sgdm(w, m, method == Method::master ? w + noise : w, c);  // a gradient is taken where the rounded weight is
  if (method == Method::master) return {w, m};
  if (method == Method::eco) sgdm_eco(m, -noise, c);  // e = w - (w + xi)
  return {w + noise, m};
}

using Matrix = std::array<std::array<double, 2>, 2>;

Matrix product(const Matrix& a, const Matrix& b, bool transposed) {
  Matrix c{};
  for (std::size_t i = 0; i < 2; ++i)
    for (std::size_t j = 0; j < 2; ++j)
      for (std::size_t k = 0; k < 2; ++k) c[i][j] += a[i][k] * (transposed ? b[j][k] : b[k][j]);
  return c;
}

/// E of the rounded weight's square in the stationary state. The step is linear: state' = A state + B xi, whose columns
/// are what it makes of unit vectors; the covariance is the sum of A^k B B' A'^k, doubled until it stands still.
double stationary(Method method, double beta, double eta) {
  const RuleConstants c = sgdm_constants({.lr = eta, .beta1 = beta, .beta2 = 0, .eps = 0, .weight_decay = 0}, 1);
  const auto of_w = step_of(method, {1, 0}, 0, c), of_m = step_of(method, {0, 1}, 0, c),
             of_xi = step_of(method, {0, 0}, 1, c);
  Matrix power = {{{of_w[0], of_m[0]}, {of_w[1], of_m[1]}}}, sum{};
  for (std::size_t i = 0; i < 2; ++i)
    for (std::size_t j = 0; j < 2; ++j) sum[i][j] = of_xi[i] * of_xi[j];
  for (int doubling = 0; doubling < 40; ++doubling) {
    const Matrix later = product(product(power, sum, false), power, true);
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t j = 0; j < 2; ++j) sum[i][j] += later[i][j];
    power = product(power, power, false);
  }
  return sum[0][0] + (method == Method::master ? 1 : 0);  // the rounded master, xi apart
}

}  // namespace

TEST_CASE("eco theory: closed forms of the noisy quadratic, of a master, of nothing and of ECO") {
  const struct {
    double beta, eta, master, naive, eco;
  } rows[] = {{.9, .5, 1.2533, 5.8133, 5.3333},   {.9, .1, 1.0501, 9.7625, 5.2770}, {.9, .01, 1.0050, 54.751, 5.2645},
              {.9, .001, 1.0005, 504.75, 5.2633}, {.5, .1, 1.0508, 5.7627, 1.3559}, {.5, .001, 1.0005, 500.75, 1.3336}};
  for (const auto& [b, eta, master, naive, eco] : rows) {
    CAPTURE(b, eta);
    // 1 - eta is a float: where eta is .001 it is right to 6e-5 of eta.
    CHECK(stationary(Method::master, b, eta) == Approx(master).epsilon(2e-4));
    CHECK(stationary(Method::naive, b, eta) == Approx(naive).epsilon(2e-4));
    CHECK(stationary(Method::eco, b, eta) == Approx(eco).epsilon(2e-4));
    CHECK(1 + eta * (1 + b) / (2 * (1 + b) - eta * (1 - b)) == Approx(master).epsilon(1e-4));
    CHECK((1 - b * b + 2 * b * eta) / (eta * (2 * (1 - b * b) - eta * (1 - b) * (1 - b))) ==
          Approx(naive).epsilon(1e-4));
    CHECK(2 / (2 * (1 - b * b) - eta * (1 - b) * (1 - b)) == Approx(eco).epsilon(1e-4));
  }
  // What the paper is about: without a master the error grows as 1 / eta, with ECO it does not.
  CHECK(stationary(Method::naive, .9, .001) / stationary(Method::naive, .9, .01) > 9);
  CHECK(stationary(Method::eco, .9, .001) / stationary(Method::eco, .9, .01) < 1.001);
}

namespace {

/// E of (w - optimum)^2 in steps of the grid, in the real step: INT8 whose scale is 1, because the first weight of each
/// row is 127 and stays, and gradients with noise.
double on_grid(bool master, Rounding rounding, bool eco, double noise, double eta, float start) {
  constexpr std::int64_t rows = 4, cols = 512, n = rows * cols;
  const TestBackend backend(make_cpu_backend(2));
  std::vector<float> first(n, start), optimum;
  for (std::int64_t i = 0; i < n; ++i)
    optimum.push_back(uniform(philox(philox_key(2, Purpose::test), static_cast<std::uint64_t>(i), 0, 0)) - 0.5f);
  for (std::size_t r = 0; r < n; r += cols) first[r] = optimum[r] = 127.0f;
  StoredParameter p(*backend,
                    {.shape = Shape{rows, cols},
                     .weight = {.storage = WeightStorage::integer,
                                .master = master ? Master::f32 : Master::none,
                                .rounding = rounding,
                                .error_feedback = eco ? ErrorFeedback::eco : ErrorFeedback::none},
                     .rule = UpdateRule::sgdm,
                     .options = {.lr = eta, .beta1 = 0.9, .beta2 = 0, .eps = 0, .weight_decay = 0}},
                    first);
  // ECO rounded to nearest lags behind its virtual sequence, and so settles late.
  const double times = eco && rounding == Rounding::nearest ? 25 : 6;
  const int settled = static_cast<int>(times / eta), steps = settled + std::max(300, static_cast<int>(8 / eta));
  double sum = 0;
  for (int t = 1; t <= steps; ++t) {
    // Sums of four uniform numbers have a variance of 1/3.
    std::vector<float> g = normals(n, static_cast<std::uint32_t>(t), static_cast<float>(noise * std::sqrt(3.0)));
    const std::vector<float> w = p.weights();
    for (std::size_t i = 0; i < n; ++i) {
      const float off = w[i] - optimum[i];
      g[i] = i % cols == 0 ? 0.0f : g[i] + off;
      if (t > settled) sum += static_cast<double>(off) * static_cast<double>(off);
    }
    p.step(g, t);
  }
  return sum / (steps - settled) / (n - rows);
}

}  // namespace

TEST_CASE("eco theory: on a real grid ECO is as good as a master, and naive stochastic rounding does not anneal") {
  const struct {
    double noise, eta, master_nearest, master_stochastic, naive_stochastic, eco_nearest, eco_stochastic;
  } rows[] = {{20, .1, 20.2, 20.2, 21.7, 20.3, 21.0}, {20, .01, 2.08, 2.17, 3.96, 2.10, 2.26}};
  for (const auto& row : rows) {
    CAPTURE(row.noise, row.eta);
    CHECK(on_grid(true, Rounding::nearest, false, row.noise, row.eta, 0) == Approx(row.master_nearest).epsilon(.05));
    CHECK(on_grid(true, Rounding::stochastic, false, row.noise, row.eta, 0) ==
          Approx(row.master_stochastic).epsilon(.05));
    CHECK(on_grid(false, Rounding::stochastic, false, row.noise, row.eta, 0) ==
          Approx(row.naive_stochastic).epsilon(.05));
    CHECK(on_grid(false, Rounding::nearest, true, row.noise, row.eta, 0) == Approx(row.eco_nearest).epsilon(.05));
    CHECK(on_grid(false, Rounding::stochastic, true, row.noise, row.eta, 0) == Approx(row.eco_stochastic).epsilon(.05));
  }
  // Nearest without feedback: an update below half a step of the grid moves nothing, and the weights stay at the start.
  CHECK(on_grid(false, Rounding::nearest, false, 20, .01, 20) > 395);
  CHECK(on_grid(false, Rounding::nearest, true, 20, .01, 20) < 2.3);
}

TEST_CASE("eco theory: the exact rule for AdamW has the codes of training with a master, bit for bit") {
  // m_hat = m + (1 - lr_t wd) / s_t e_t - (1 - lr_{t+1} wd) / (beta1 s_{t+1}) e_{t+1}, s the element's step size. The
  // step size that will consume the error is the next one, known here because the run with a master was made first.
  constexpr int steps = 3000, warmup = 300;
  constexpr double peak = 1e-3, beta1 = 0.9, beta2 = 0.98, eps = 1e-9, decay = 0.1, grid = 1.0 / 64;
  const auto round = [](double x) { return std::nearbyint(x / grid) * grid; };
  const auto noise = [](std::uint64_t i) {
    return (philox(philox_key(13, Purpose::test), i, 0, 0) + 0.5) / 2147483648.0 - 1;
  };
  const auto rate = [](int t) {
    if (t <= warmup) return peak * (0.01 + 0.99 * t / warmup);
    return peak * (0.1 + 0.45 * (1 + std::cos(3.14159265358979 * (t - warmup) / (steps - warmup))));
  };
  const auto gradient = [&](double w, int t) { return (w - 0.4) + 0.5 * noise(static_cast<std::uint64_t>(t)); };

  std::vector<double> codes(steps + 2), size(steps + 2), keep(steps + 2);
  double master = 0.31, m = 0, v = 0;
  for (int t = 1; t <= steps + 1; ++t) {
    codes[static_cast<std::size_t>(t - 1)] = round(master);
    const double g = gradient(round(master), t);
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    const double denominator = std::sqrt(v / (1 - std::pow(beta2, t))) + eps;
    size[static_cast<std::size_t>(t)] = rate(t) / ((1 - std::pow(beta1, t)) * denominator);
    keep[static_cast<std::size_t>(t)] = 1 - rate(t) * decay;
    master = keep[static_cast<std::size_t>(t)] * master - size[static_cast<std::size_t>(t)] * m;
  }

  const auto mismatches = [&](bool with_decay) {
    const auto kept = [&](std::size_t t) { return with_decay ? keep[t] : 1.0; };
    double w = round(0.31), e = 0.31 - w, momentum = -kept(1) / (beta1 * size[1]) * e, second = 0;
    int count = 0;
    for (std::size_t t = 1; t <= steps; ++t) {
      count += w != codes[t - 1];
      const double g = gradient(w, static_cast<int>(t));
      momentum = beta1 * momentum + (1 - beta1) * g;
      second = beta2 * second + (1 - beta2) * g * g;
      const double denominator = std::sqrt(second / (1 - std::pow(beta2, static_cast<double>(t)))) + eps;
      const double s = rate(static_cast<int>(t)) / ((1 - std::pow(beta1, static_cast<double>(t))) * denominator);
      const double updated = keep[t] * w - s * momentum, before = e;
      w = round(updated);
      e = updated - w;
      momentum += kept(t) / s * before - kept(t + 1) / (beta1 * size[t + 1]) * e;
    }
    return count;
  };
  std::size_t moves = 0;
  for (std::size_t t = 1; t <= steps; ++t) moves += codes[t] != codes[t - 1];
  CHECK(moves > 20);
  CHECK(mismatches(true) == 0);
  CHECK(mismatches(false) > 0);  // the factors of decay belong to it
}
