// Twenty Muon steps beside PyTorch in double precision (tests/golden/make_muon.py), which applies the polynomials to
// singular values and multiplies no matrices as the program does.
#include <cmath>
#include <string>
#include <vector>

#include "catch.h"
#include "model/golden.h"
#include "optim/muon_support.h"

using namespace bittern;

namespace {

struct GoldenCase {
  const char* name;
  Shape shape;
  Orthogonalization how;
};

std::vector<GoldenCase> golden_cases() {
  const DType f32 = DType::f32;
  return {{"wide", Shape{12, 40}, {.compute = f32}},
          {"tall", Shape{40, 12}, {.compute = f32}},
          {"heads", Shape{24, 20}, {.blocks = 4, .compute = f32}},
          {"plain_momentum", Shape{16, 16}, {.nesterov = false, .compute = f32}},
          {"polar_express", Shape{12, 40}, {.polynomial = NewtonSchulz::polar_express, .steps = 9, .compute = f32}},
          {"deepseek", Shape{40, 12}, {.polynomial = NewtonSchulz::deepseek, .steps = 10, .compute = f32}}};
}

/// Root mean square of how far the last weights are from PyTorch's.
double distance_from_golden(const GoldenCase& of) {
  static const golden::Golden all("muon");
  const std::string name = of.name;
  const TestBackend backend(make_cpu_backend(2));
  StoredParameter p(*backend, muon_options(of.shape, of.how), all.floats(name + ".start"));
  const std::vector<float> gradients = all.floats(name + ".gradients");
  const std::int64_t n = of.shape.elements();
  for (int t = 1; t <= 20; ++t) p.step({gradients.begin() + (t - 1) * n, gradients.begin() + t * n}, t);
  if (of.how.compute == DType::f32)
    CHECK(root_mean_square({p.m_values(), p.m_values() + n}, all.floats(name + ".momentum")) < 1e-6);
  return root_mean_square(p.weights(), all.floats(name + ".final"));
}

}  // namespace

TEST_CASE("muon: twenty steps are PyTorch's in double precision, for wide, tall and stacked matrices") {
  for (const GoldenCase& of : golden_cases()) {
    INFO(of.name);
    CHECK(distance_from_golden(of) < 2e-5);  // the steps move a weight by about 6e-2
  }
}

TEST_CASE("muon: with bf16 products the twenty steps stay within what bf16 rounds") {
  for (GoldenCase of : golden_cases()) {
    INFO(of.name);
    of.how.compute = DType::bf16;
    const double distance = distance_from_golden(of);
    CHECK(distance < 3e-3);
    CHECK(distance > 1e-6);  // it is bf16 that was asked for
  }
}
