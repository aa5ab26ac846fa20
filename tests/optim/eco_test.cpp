// ECO (arXiv 2601.22101): error feedback through the first moment. The invariants of the method, in a double-precision
// oracle and in the real step.
#include <functional>

#include "optim/step_support.h"

using namespace bittern;

namespace {

WeightCodec fp8(Rounding rounding, ErrorFeedback feedback = ErrorFeedback::eco) {
  return {.storage = WeightStorage::fp8_e4m3, .rounding = rounding, .error_feedback = feedback};
}
/// A uniform grid whose step never changes.
WeightCodec fixed_int8(Rounding rounding, ErrorFeedback feedback = ErrorFeedback::eco) {
  return {.storage = WeightStorage::integer,
          .scale_update = ScaleUpdate::fixed,
          .rounding = rounding,
          .error_feedback = feedback};
}

double uniform_double(std::uint64_t i, std::uint32_t stream) {
  return (philox(philox_key(11, Purpose::test), i, 0, stream) + 0.5) / 4294967296.0;
}
double normal_double(std::uint64_t i, std::uint32_t stream) {
  return std::sqrt(-2 * std::log(uniform_double(2 * i, stream))) *
         std::cos(6.283185307179586 * uniform_double(2 * i + 1, stream));
}

/// ECO-SGDM on one number, as the paper writes it.
struct Oracle {
  double w, m = 0, eta, beta;
  std::function<double(double, std::uint64_t)> round;
  std::uint64_t t = 0;
  double error = 0;
  void step(double g) {
    m = beta * m + (1 - beta) * g;
    const double updated = w - eta * m;
    w = round(updated, t++);
    error = updated - w;
    m += (1 / eta) * (1 - 1 / beta) * error;
  }
  double phi() const { return w - eta * beta / (1 - beta) * m; }
};

double nearest(double x, std::uint64_t) {
  return std::nearbyint(x * 16) / 16;
}
double stochastic(double x, std::uint64_t t) {
  const double scaled = x * 16, below = std::floor(scaled);
  return (below + (uniform_double(t, 5) < scaled - below)) / 16;
}

}  // namespace

TEST_CASE("eco: the virtual sequence phi follows plain gradient descent for any rounding") {
  for (const auto& round : {nearest, stochastic}) {
    Oracle oracle{.w = 0.5, .eta = 0.01, .beta = 0.9, .round = round};
    double phi = oracle.phi();
    for (std::uint64_t t = 0; t < 3000; ++t) {
      const double g = normal_double(t, 1);
      oracle.step(g);
      phi -= oracle.eta * g;
      REQUIRE(std::fabs(oracle.phi() - phi) < 1e-12);
    }
  }
}

TEST_CASE("eco: in the real step phi follows plain gradient descent within float rounding, nearest and stochastic") {
  const TestBackend backend(make_cpu_backend(2));
  const std::int64_t rows = 4, cols = 257, n = rows * cols;
  const double eta = 0.05, beta = 0.9;
  for (const Rounding rounding : {Rounding::nearest, Rounding::stochastic})
    for (const WeightCodec& codec :
         {fp8(rounding), fixed_int8(rounding),
          WeightCodec{.storage = WeightStorage::bf16, .rounding = rounding, .error_feedback = ErrorFeedback::eco},
          WeightCodec{.storage = WeightStorage::integer,
          .bits = 4,
          .scale_per = ScalePer::tensor,
          .rounding = rounding,
          .error_feedback = ErrorFeedback::eco}}) {
      // The first of every row lies far above the others and stays: a grid that is kept ends there, and clips no other.
      std::vector<float> start = normals(n, 0, 0.1f);
      for (std::int64_t r = 0; r < rows; ++r) start[static_cast<std::size_t>(r * cols)] = 1.0f;
      StoredParameter p(*backend,
                        {.shape = Shape{rows, cols},
                         .weight = codec,
                         .rule = UpdateRule::sgdm,
                         .options = {.lr = eta, .beta1 = beta, .beta2 = 0, .eps = 0, .weight_decay = 0}},
                        start);
      std::vector<double> phi;
      for (const float w : p.weights()) phi.push_back(w);  // m is 0
      for (int t = 1; t <= 50; ++t) {
        std::vector<float> g = normals(n, static_cast<std::uint32_t>(t), 0.05f);
        for (std::int64_t r = 0; r < rows; ++r) g[static_cast<std::size_t>(r * cols)] = 0.0f;
        p.step(g, t);
        for (std::size_t i = 0; i < phi.size(); ++i) phi[i] -= eta * g[i];
      }
      const std::vector<float> w = p.weights();
      double worst = 0;
      for (std::size_t i = 0; i < phi.size(); ++i)
        worst = std::max(worst, std::fabs(w[i] - eta * beta / (1 - beta) * p.m_values()[i] - phi[i]));
      INFO(name(codec.dtype()) << " " << rounding_names[static_cast<std::size_t>(rounding)]);
      CHECK(worst < 2e-5);
    }
}

TEST_CASE("eco with AdamW: phi moves by -s g while the second moment is constant") {
  // beta2 = 1 - 0 keeps v at what it is: s is frozen (t is large, so that the bias corrections are 1).
  const TestBackend backend(make_cpu_backend(1));
  const std::int64_t n = 300;
  const double eta = 0.01, beta = 0.9, v = 0.04, s = eta / std::sqrt(v);
  StepOptions options{.shape = Shape{1, n}, .weight = fp8(Rounding::stochastic)};
  options.options = {.lr = eta, .beta1 = beta, .beta2 = 1.0, .eps = 1e-12, .weight_decay = 0};
  StoredParameter p(*backend, options, normals(n, 0, 0.1f));
  std::fill_n(p.v_values(), n, static_cast<float>(v));
  std::vector<double> phi;
  for (const float w : p.weights()) phi.push_back(w);
  RuleConstants constants = adamw_constants(options.options, 100000);
  constants.inv_sqrt_correction2 = 1.0f;
  for (int t = 1; t <= 50; ++t) {
    const std::vector<float> g = normals(n, static_cast<std::uint32_t>(t), 0.05f);
    p.step_with(g, constants, t);
    for (std::size_t i = 0; i < phi.size(); ++i) phi[i] -= s * g[i];
  }
  const std::vector<float> w = p.weights();
  for (std::size_t i = 0; i < phi.size(); ++i) {
    CHECK(std::fabs(w[i] - s * beta / (1 - beta) * p.m_values()[i] - phi[i]) < 2e-5);
    CHECK(p.v_values()[i] == static_cast<float>(v));  // eco never touches v
  }
}

TEST_CASE("eco on a grid that is kept: the moment of a weight at an end does not grow, so the weight can leave again") {
  // Gradients push every weight beyond the ends for 200 steps, then pull. The moment of sgdm is an average of
  // gradients, all of magnitude 1, so at the ends it is at most 1.
  const TestBackend backend(make_cpu_backend(1));
  const std::int64_t n = 64;
  for (const Rounding rounding : {Rounding::nearest, Rounding::stochastic})
    for (const WeightStorage storage : {WeightStorage::fp8_e4m3, WeightStorage::integer, WeightStorage::ternary}) {
      const WeightCodec codec{.storage = storage,
                              .scale_per = ScalePer::tensor,
                              .scale_from = ScaleFrom::absmean,
                              .scale_update = ScaleUpdate::fixed,
                              .rounding = rounding,
                              .error_feedback = ErrorFeedback::eco};
      StoredParameter p(*backend,
                        {.shape = Shape{1, n},
                         .weight = codec,
                         .rule = UpdateRule::sgdm,
                         .options = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0, .eps = 0, .weight_decay = 0}},
                        normals(n, 0, 0.1f));
      INFO(weight_storage_names[static_cast<std::size_t>(storage)]);
      for (int t = 1; t <= 200; ++t) p.step(std::vector<float>(n, -1.0f), t);
      const std::vector<float> at_end = p.weights();
      const float highest = *std::max_element(at_end.begin(), at_end.end());
      for (std::size_t i = 0; i < n; ++i) {
        CHECK(at_end[i] == highest);
        CHECK(std::fabs(p.m_values()[i]) < 1.001f);
      }
      for (int t = 201; t <= 260; ++t) p.step(std::vector<float>(n, 1.0f), t);
      for (const float w : p.weights()) CHECK(w < highest);
    }
}

TEST_CASE("eco, nearest: while no border is crossed the momentum is an undamped sum of gradients") {
  Oracle oracle{.w = 0.5, .eta = 0.01, .beta = 0.9, .round = nearest};
  double sum = 0;
  for (std::uint64_t t = 0; t < 10; ++t) {
    const double g = 0.1 * uniform_double(t, 2);
    oracle.step(g);
    sum += (1 - oracle.beta) * g;
    REQUIRE(oracle.w == 0.5);
    REQUIRE(std::fabs(oracle.m - sum / oracle.beta) < 1e-12 * std::fabs(oracle.m));
  }
}

TEST_CASE("eco: an error made once comes back in full over the following steps") {
  // Rounding that takes 0.01 once, and nothing else ever.
  Oracle oracle{
      .w = 0, .eta = 0.1, .beta = 0.9, .round = [](double x, std::uint64_t t) { return t == 0 ? x - 0.01 : x; }};
  oracle.step(0);
  CHECK(oracle.w == Approx(-0.01));
  for (int t = 0; t < 400; ++t) oracle.step(0);
  CHECK(std::fabs(oracle.w) < 1e-12);
}

TEST_CASE("eco's exact form, which keeps the last error, has the codes of training with a master") {
  // m + e_t / eta - e_{t+1} / (eta beta): what ECO approximates by e_t = e_{t+1}.
  for (const double decay : {0.0, 0.1}) {
    const double eta = 0.01, beta = 0.9, keep = 1 - eta * decay;
    double master = 0.31, master_m = 0;
    double w = nearest(master, 0), e = master - w, m = -keep / (eta * beta) * e;
    int mismatches = 0;
    for (std::uint64_t t = 0; t < 3000; ++t) {
      const double g = normal_double(t, 3);
      master_m = beta * master_m + (1 - beta) * g;
      master = keep * master - eta * master_m;
      const double m_new = beta * m + (1 - beta) * g, updated = keep * w - eta * m_new;
      w = nearest(updated, t);
      const double e_new = updated - w;
      m = m_new + keep / eta * e - keep / (eta * beta) * e_new;
      e = e_new;
      mismatches += w != nearest(master, t);
    }
    CHECK(mismatches == 0);
  }
}

TEST_CASE("eco: a rate of 0 changes nothing and stays finite") {
  const TestBackend backend(make_cpu_backend(1));
  for (const UpdateRule rule : {UpdateRule::adamw, UpdateRule::sgdm, UpdateRule::adafactor}) {
    StepOptions options{.shape = Shape{2, 100}, .weight = fp8(Rounding::stochastic), .rule = rule};
    StoredParameter p(*backend, options, normals(200, 0, 0.1f));
    p.step(normals(200, 1), 1);
    const std::vector<int> before = p.weight_codes();
    p.step(normals(200, 2), 2, 0.0);
    std::size_t changed = 0;
    for (std::size_t i = 0; i < 200; ++i) {
      changed += p.weight_codes()[i] != before[i];
      CHECK(std::isfinite(p.m_values()[i]));
    }
    CHECK(changed == 0);
  }
}

TEST_CASE("eco: storing a stored weight again gives the same codes, and its scale within an ulp") {
  const TestBackend backend(make_cpu_backend(1));
  for (const WeightCodec& codec : {fp8(Rounding::nearest), WeightCodec{.storage = WeightStorage::integer, .bits = 4},
                                   WeightCodec{.storage = WeightStorage::ternary, .scale_per = ScalePer::tensor}}) {
    StepOptions options{.shape = Shape{3, 200}, .weight = codec};
    StoredParameter p(*backend, options, normals(600, 0, 0.1f));
    const std::vector<int> before = p.weight_codes();
    const std::vector<float> scales = p.weight_scales();
    p.step(std::vector<float>(600, 0.0f), 1, 0.0);
    CHECK(p.weight_codes() == before);
    for (std::size_t r = 0; r < 3; ++r) CHECK(p.weight_scales()[r] == Approx(scales[r]).epsilon(2e-7));
  }
}

TEST_CASE("eco: the cap bounds the injection, the decay factor scales it") {
  RuleOptions options{.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1};
  const auto injection = [&](float e) {
    float m = 0;
    adamw_eco(m, 0.04f, e, adamw_constants(options, 100000));
    return m;
  };
  const float free = injection(1e-3f);
  CHECK(free == Approx((1 - 1 / 0.9) / 1e-3 * 0.2 * 1e-3).epsilon(1e-5));
  options.eco_decay_factor = true;
  CHECK(injection(1e-3f) == Approx(free * (1 - 1e-4)).epsilon(1e-6));
  options.eco_cap = 0.01;
  CHECK(injection(1e-3f) == Approx(-0.01 * 0.2).epsilon(1e-5));
  CHECK(injection(-1e-3f) == Approx(0.01 * 0.2).epsilon(1e-5));
}

TEST_CASE("eco is refused with a master, with f32 weights and without a first moment") {
  const TestBackend backend(make_cpu_backend(1));
  const auto refused = [&](WeightCodec codec, double beta1) {
    StepOptions options{.shape = Shape{2, 64}, .weight = codec};
    options.options.beta1 = beta1;
    StoredParameter p(*backend, options, normals(128, 0));
    CHECK_THROWS_WITH(p.step(normals(128, 1), 1), Catch::Matchers::Contains("error feedback"));
  };
  WeightCodec with_master = fp8(Rounding::nearest);
  with_master.master = Master::f32;
  refused(with_master, 0.9);
  refused({.error_feedback = ErrorFeedback::eco}, 0.9);
  refused(fp8(Rounding::nearest), 0.0);
}
