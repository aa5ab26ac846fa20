// Muon: the singular values of its direction; every codec of weights and momentum; threads; what it refuses. Its
// trajectory beside PyTorch is in tests/train/muon_golden_test.cpp.
#include <cmath>
#include <cstdint>

#include "bittern/optim/muon.h"
#include "ops/cpu/gemm/gemm.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/cpu/optimizer/orthogonalize.h"
#include "optim/combinations.h"
#include "optim/muon_support.h"
#include "optim/step_support.h"

using namespace bittern;

namespace {

/// The singular values of a matrix of few rows or columns, by one-sided Jacobi rotations, in double precision.
std::vector<double> singular_values(const float* matrix, std::int64_t rows, std::int64_t cols) {
  const bool wide = rows <= cols;
  const std::int64_t s = std::min(rows, cols), l = std::max(rows, cols);
  std::vector<std::vector<double>> x(static_cast<std::size_t>(s), std::vector<double>(static_cast<std::size_t>(l)));
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = 0; j < x[i].size(); ++j) {
      const auto r = static_cast<std::int64_t>(wide ? i : j), c = static_cast<std::int64_t>(wide ? j : i);
      x[i][j] = static_cast<double>(matrix[r * cols + c]);
    }
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  for (int sweep = 0; sweep < 30; ++sweep)
    for (std::size_t i = 0; i < x.size(); ++i)
      for (std::size_t j = i + 1; j < x.size(); ++j) {
        const double a = dot(x[i], x[i]), b = dot(x[j], x[j]), c = dot(x[i], x[j]);
        if (std::fabs(c) < 1e-15 * std::sqrt(a * b)) continue;
        const double zeta = (b - a) / (2 * c);
        const double t = (zeta > 0 ? 1 : -1) / (std::fabs(zeta) + std::sqrt(1 + zeta * zeta));
        const double cosine = 1 / std::sqrt(1 + t * t), sine = cosine * t;
        for (std::size_t k = 0; k < x[i].size(); ++k) {
          const double xi = x[i][k], xj = x[j][k];
          x[i][k] = cosine * xi - sine * xj;
          x[j][k] = sine * xi + cosine * xj;
        }
      }
  std::vector<double> values;
  for (const std::vector<double>& row : x) values.push_back(std::sqrt(dot(row, row)));
  std::ranges::sort(values);
  return values;
}

std::vector<float> orthogonalized(std::vector<float> matrix, std::int64_t rows, std::int64_t cols,
                                  const Orthogonalization& how) {
  std::vector<std::byte> workspace(static_cast<std::size_t>(cpu::gemm_workspace_bytes(cpu::thread_count())) + 64);
  std::vector<float> scratch(static_cast<std::size_t>(cpu::orthogonalize_scratch(how, rows, cols)) + 16);
  const auto aligned = [](auto* at) {
    return reinterpret_cast<decltype(at)>((reinterpret_cast<std::uintptr_t>(at) + 63) / 64 * 64);
  };
  cpu::orthogonalize(matrix.data(), rows, cols, how, aligned(scratch.data()), aligned(workspace.data()));
  return matrix;
}

}  // namespace

TEST_CASE("muon: singular values become about one, each polynomial within its band") {
  struct Band {
    NewtonSchulz polynomial;
    int steps;
    double low, high;
  };
  for (const auto& [rows, cols] : {std::pair<std::int64_t, std::int64_t>{32, 96}, {96, 32}, {48, 48}})
    for (const Band& band : {Band{NewtonSchulz::simple, 5, 0.3, 1.25}, Band{NewtonSchulz::polar_express, 8, 0.9, 1.1},
                             Band{NewtonSchulz::deepseek, 10, 0.9, 1.1}}) {
      CAPTURE(rows, cols, newton_schulz_names[static_cast<std::size_t>(band.polynomial)]);
      const std::vector<float> matrix = normals(rows * cols, 5);
      const std::vector<double> before = singular_values(matrix.data(), rows, cols);
      CHECK(before.back() > (rows == cols ? 20 : 3) * before.front());
      for (const DType compute : {DType::f32, DType::bf16}) {
        const Orthogonalization how{.polynomial = band.polynomial, .steps = band.steps, .compute = compute};
        const auto values = singular_values(orthogonalized(matrix, rows, cols, how).data(), rows, cols);
        CHECK(values.front() > (rows == cols ? 0.0 : band.low));
        CHECK(values.back() < band.high);
      }
    }
}

TEST_CASE("muon: a matrix and its transpose have one direction, and its size does not matter") {
  constexpr std::int64_t rows = 20, cols = 33;
  const Orthogonalization how{.compute = DType::f32};
  const std::vector<float> matrix = normals(rows * cols, 6);
  std::vector<float> transposed(matrix.size()), larger = matrix;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c)
      transposed[static_cast<std::size_t>(c * rows + r)] = matrix[static_cast<std::size_t>(r * cols + c)];
  for (float& x : larger) x *= 1024.0f;
  const std::vector<float> direction = orthogonalized(matrix, rows, cols, how);
  CHECK(root_mean_square(orthogonalized(larger, rows, cols, how), direction) < 1e-5);
  const std::vector<float> other = orthogonalized(transposed, cols, rows, how);
  double worst = 0;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c)
      worst = std::max(worst, std::fabs(static_cast<double>(direction[static_cast<std::size_t>(r * cols + c)]) -
                                        static_cast<double>(other[static_cast<std::size_t>(c * rows + r)])));
  CHECK(worst < 1e-4);
  CHECK(orthogonalized(std::vector<float>(6, 0.0f), 2, 3, how) == std::vector<float>(6, 0.0f));  // no 0 / 0
}

TEST_CASE("muon: every codec of weights and of the momentum trains, and threads change no bit") {
  const auto ms = moment_codecs(&StateCodecInfo::for_first_moment);
  std::size_t turn = 0;
  for (const WeightCodec& weight : weight_codecs) {
    if (weight.error_feedback == ErrorFeedback::eco) continue;  // refused, below
    for (std::size_t k = 0; k < ms.size(); ++k, ++turn) {
      StepOptions options = muon_options(Shape{18, 75}, {.blocks = turn % 2 == 0 ? 1 : 3});
      options.weight = weight;
      options.m = ms[k];
      options.m_rounding = turn % 3 == 0 ? Rounding::nearest : Rounding::stochastic;
      options.block = 32;
      options.options.lr = 2e-3;
      INFO(name_of(options));
      const bool stuck = weight.quantized() && weight.master == Master::none && weight.rounding == Rounding::nearest;
      const bool coarse =
          weight.scale_from == ScaleFrom::absmean || (weight.quantized() && weight.dtype() >= DType::i4);
      const TestBackend one(make_cpu_backend(1));
      Quadratic problem(*one, options);
      const double before = problem.loss();
      problem.run(30);
      CHECK(std::isfinite(problem.loss()));
      CHECK(problem.loss() < before * (stuck ? 1.05 : coarse ? 1.2 : 0.9));
      const Outcome once = outcome(*one, options);
      for (const int threads : {2, 5}) CHECK(outcome(*TestBackend(make_cpu_backend(threads)), options) == once);
      // Sums for the metrics change no codes.
      CHECK(outcome(*one, options, false).bytes == once.bytes);
    }
  }
}

TEST_CASE("muon: the metrics see the momentum and what storing it lost") {
  const TestBackend backend(make_cpu_backend(1));
  StepOptions options = muon_options(Shape{16, 64}, {.nesterov = false, .compute = DType::f32});
  options.m = "linear8";
  options.block = 64;
  StoredParameter p(*backend, options, normals(16 * 64, 1));
  p.with_statistics = true;
  const std::vector<float> g = normals(16 * 64, 2);
  p.step(g, 1);
  double squares = 0, largest = 0;
  for (const float x : g) {
    const double m = static_cast<double>(0.1f * x);
    squares += m * m;
    largest = std::max(largest, std::fabs(m));
  }
  CHECK(p.statistic(StepStatistic::m_squared) == Approx(squares).epsilon(1e-4));
  CHECK(p.statistic(StepStatistic::m_absmax) == Approx(largest).epsilon(1e-6));
  const double lost = static_cast<double>(p.statistic(StepStatistic::m_error_squared)) / squares;
  CHECK(lost > 1e-7);
  CHECK(lost < 1e-4);
  CHECK(p.statistic(StepStatistic::v_max) == 0.0f);
}

TEST_CASE("muon: what it cannot update is refused by name") {
  const TestBackend backend(make_cpu_backend(1));
  const auto refusal = [&](StepOptions options, Shard shard = {}) {
    StoredParameter p(*backend, options, normals(options.shape.elements(), 1));
    p.shard = shard;
    try {
      p.step(normals(options.shape.elements(), 2), 1);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refusal(muon_options(Shape{8, 16}, {})).empty());
  StepOptions vector = muon_options(Shape{8, 16}, {});
  vector.shape = Shape{16};
  CHECK(refusal(vector) == "optimizer_step: rule muon needs a matrix with a first moment; got (16)");
  CHECK(refusal(muon_options(Shape{8, 16}, {}), {.first_row = 0, .rows = 8}) ==
        "optimizer_step: rule muon needs the whole matrix, not a shard of 8 of its 8 rows");
  CHECK(refusal(muon_options(Shape{8, 16}, {.blocks = 3})).find("blocks of equal rows") != std::string::npos);
  StepOptions eco = muon_options(Shape{8, 16}, {});
  eco.weight = {.storage = WeightStorage::fp8_e4m3, .error_feedback = ErrorFeedback::eco};
  CHECK(refusal(eco) == "optimizer_step: rule muon has no error feedback");
}

TEST_CASE("muon: every matrix has one owner, and no process has much more to do than another") {
  CHECK(owners_of({}, 4).empty());
  const std::vector<double> costs = {4, 4, 1, 4, 2, 2, 1, 6};
  CHECK(owners_of(costs, 1) == std::vector<int>(8, 0));
  CHECK(owners_of(costs, 3) == std::vector<int>{1, 2, 2, 1, 2, 0, 2, 0});
  std::vector<double> load(3);
  for (std::size_t i = 0; i < costs.size(); ++i) load[static_cast<std::size_t>(owners_of(costs, 3)[i])] += costs[i];
  CHECK(load == std::vector<double>(3, 8.0));
  CHECK(owners_of(std::vector<double>{1, 1}, 4) == std::vector<int>{0, 1});
}
