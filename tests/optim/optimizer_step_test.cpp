// The fused update: AdamW against a double-precision reference, codecs, masters, and addressed stochastic rounding.
#include <cmath>
#include <numeric>
#include <vector>

#include "bittern/optimizer.h"
#include "ops/every_isa.h"
#include "optim/step_support.h"

using namespace bittern;

namespace {

struct Problem {
  std::vector<float> w, m, v, g;
  StepRecord record{.clip = 0.5f};
  std::vector<bf16> w16, m16, v16;
  explicit Problem(std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::uint64_t>(i);
      w.push_back(normal_like(at, 0));
      m.push_back(0.1f * normal_like(at, 1));
      v.push_back(0.01f * std::fabs(normal_like(at, 2)));
      g.push_back(normal_like(at, 3));
      w16.push_back(to_bf16(w.back()));
      m16.push_back(to_bf16(m.back()));
      v16.push_back(to_bf16(v.back()));
    }
  }
  Tensor record_view() { return Tensor(&record, DType::u8, Shape{step_record_bytes}); }
  template <typename T>
  static Tensor view(std::vector<T>& x) {
    return Tensor(x.data(), Tensor::dtype_of<T>(), Shape{static_cast<std::int64_t>(x.size())});
  }
  template <typename T>
  static StoredMoment moment(std::vector<T>& x) {
    return {.codec = {.info = find_state_codec(name(Tensor::dtype_of<T>()))},
            .codes = view(x),
            .scales = {},
            .row = {},
            .column = {}};
  }
};

RuleConstants constants(long long t) {
  return adamw_constants({.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1}, t);
}

}  // namespace

TEST_CASE("optimizer_step: AdamW in fp32 equals the double-precision formula, for every size and thread count") {
  for (const std::int64_t n : {1, 2, 3, 17, 65, 1024, 1025, 70001}) {
    Problem p(n), before(n);
    const TestBackend backend(make_cpu_backend(n > 1000 ? 2 : 1));
    backend->optimizer_step({.weight = Problem::view(p.w),
                             .master = {},
                             .m = Problem::moment(p.m),
                             .v = Problem::moment(p.v),
                             .gradient = Problem::view(p.g),
                             .record = p.record_view(),
                             .statistics = {},
                             .constants = constants(3)});
    for (std::size_t i = 0; i < p.w.size(); ++i) {
      const double g = 0.5 * before.g[i];
      const double m = 0.9 * before.m[i] + 0.1 * g, v = 0.95 * before.v[i] + 0.05 * g * g;
      const double denominator = std::sqrt(v) / std::sqrt(1 - std::pow(0.95, 3)) + 1e-8;
      const double w = before.w[i] * (1 - 1e-2 * 0.1) - 1e-2 / (1 - std::pow(0.9, 3)) * m / denominator;
      REQUIRE(p.m[i] == Approx(m).epsilon(1e-5).margin(1e-7));  // cancellation
      REQUIRE(p.v[i] == Approx(v).epsilon(1e-6).margin(1e-12));
      REQUIRE(p.w[i] == Approx(w).epsilon(1e-5).margin(1e-7));
    }
  }
}

TEST_CASE("optimizer_step: bf16 states and a master are the fp32 update, rounded to nearest once") {
  const std::int64_t n = 3001;
  Problem p(n), expected(n);
  for (std::size_t i = 0; i < p.w.size(); ++i) {
    expected.m[i] = to_float(p.m16[i]);
    expected.v[i] = to_float(p.v16[i]);
  }
  const TestBackend backend(make_cpu_backend(1));
  backend->optimizer_step({.weight = Problem::view(p.w16),
                           .master = Problem::view(p.w),
                           .m = Problem::moment(p.m16),
                           .v = Problem::moment(p.v16),
                           .gradient = Problem::view(p.g),
                           .record = p.record_view(),
                           .statistics = {},
                           .constants = constants(1),
                           .codec = {.storage = WeightStorage::bf16, .master = Master::f32}});
  for (std::size_t i = 0; i < p.w.size(); ++i) {
    adamw(expected.w[i], expected.m[i], expected.v[i], p.g[i] * 0.5f, constants(1));
    REQUIRE(p.w[i] == expected.w[i]);
    REQUIRE(p.w16[i].bits == to_bf16(expected.w[i]).bits);
    REQUIRE(p.m16[i].bits == to_bf16(expected.m[i]).bits);
    REQUIRE(p.v16[i].bits == to_bf16(expected.v[i]).bits);
  }
}

TEST_CASE("optimizer_step: stochastic rounding is unbiased, and addressed by step, tensor and element alone") {
  const std::int64_t n = 40000;
  const TestBackend backend(make_cpu_backend(2));
  const auto run = [&](std::uint32_t step, std::uint32_t tensor) {
    Problem p(n);
    for (bf16& w : p.w16) w = to_bf16(1.0f);
    std::fill(p.m.begin(), p.m.end(), 0.0f);
    std::fill(p.v.begin(), p.v.end(), 1.0f);
    std::fill(p.g.begin(), p.g.end(), 1.0f);
    backend->optimizer_step({.weight = Problem::view(p.w16),
                             .master = {},
                             .m = Problem::moment(p.m),
                             .v = Problem::moment(p.v),
                             .gradient = Problem::view(p.g),
                             .record = p.record_view(),
                             .statistics = {},
                             .constants = constants(1),
                             .codec = {.storage = WeightStorage::bf16, .rounding = Rounding::stochastic},
                             .seed = 1,
                             .step = step,
                             .tensor_id = tensor});
    return p.w16;
  };
  float w = 1.0f, m = 0.0f, v = 1.0f;
  adamw(w, m, v, 0.5f, constants(1));
  const auto codes = run(5, 3);
  double mean = 0;
  for (const bf16 code : codes) mean += to_float(code);
  mean /= static_cast<double>(n);
  const double gap = 0x1p-8;  // bf16 spacing below 1
  CHECK(std::fabs(mean - w) < 4 * 0.5 * gap / std::sqrt(static_cast<double>(n)));

  const auto same = [](const std::vector<bf16>& a, const std::vector<bf16>& b) {
    for (std::size_t i = 0; i < a.size(); ++i)
      if (a[i].bits != b[i].bits) return false;
    return true;
  };
  CHECK(same(codes, run(5, 3)));
  CHECK_FALSE(same(codes, run(6, 3)));
  CHECK_FALSE(same(codes, run(5, 4)));
  cpu::on_every_isa([&] { CHECK(same(codes, run(5, 3))); });
}

TEST_CASE("optimizer_step: with a master, statistics tell what rounding took before the step and after it") {
  const TestBackend backend(make_cpu_backend(2));
  for (const WeightCodec& codec :
       {WeightCodec{.storage = WeightStorage::fp8_e4m3, .master = Master::f32},
        WeightCodec{.storage = WeightStorage::fp8_e4m3, .master = Master::bf16, .rounding = Rounding::stochastic},
        WeightCodec{.storage = WeightStorage::bf16, .master = Master::f32},
        WeightCodec{.storage = WeightStorage::integer, .bits = 4, .scale_per = ScalePer::tensor, .master = Master::f32},
        WeightCodec{.storage = WeightStorage::ternary,
        .scale_per = ScalePer::tensor,
        .scale_from = ScaleFrom::absmean,
        .master = Master::fp8_e4m3}}) {
    CAPTURE(name(codec.dtype()));
    StepOptions options{.shape = Shape{40, 500}, .weight = codec};
    const std::vector<float> start = normals(20000, 0, 0.1f);
    StoredParameter p(*backend, options, start), silent(*backend, options, start);
    p.with_statistics = true;
    const auto errors = [&] {
      std::vector<double> e;
      const std::vector<float> w = p.weights(), master = p.masters();
      for (std::size_t i = 0; i < w.size(); ++i)
        e.push_back(static_cast<double>(master[i]) - static_cast<double>(w[i]));
      return e;
    };
    const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
      return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
    };
    for (int t = 1; t <= 3; ++t) {
      const std::vector<float> g = normals(20000, static_cast<std::uint32_t>(t));
      const std::vector<double> before = errors();
      p.step(g, t);
      silent.step(g, t);
      const std::vector<double> after = errors();
      const auto is = [&](StepStatistic which, double expected) {
        const double allowed = 1e-5 * std::sqrt(dot(before, before) * dot(after, after));
        CHECK(std::fabs(static_cast<double>(p.statistic(which)) - expected) < allowed);
      };
      is(StepStatistic::error_before_squared, dot(before, before));
      is(StepStatistic::error_squared, dot(after, after));
      is(StepStatistic::error_dot, dot(before, after));
    }
    CHECK(p.all_bytes() == silent.all_bytes());
  }
}
