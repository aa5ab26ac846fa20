#include "ops/cases/residual_rmsnorm.h"

#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("residual_rmsnorm: the reference's gradients are the numeric ones") {
  const std::size_t N = 3, C = 5;
  const Values x = noise(1, N * C), w = noise(2, C), dn = noise(3, N * C);
  const auto loss_of_x = [&](const Values& v) { return reference::dot(reference::rmsnorm(v, w, 1e-3).n, dn); };
  const auto loss_of_w = [&](const Values& v) { return reference::dot(reference::rmsnorm(x, v, 1e-3).n, dn); };
  const reference::RmsnormGradient gradient = reference::rmsnorm_backward(dn, x, w, 1e-3);
  check_outputs("rmsnorm", {{"dx", gradient.dx, reference::numeric_gradient(loss_of_x, x), 1e-6, 1e-7},
                            {"dw", gradient.dw, reference::numeric_gradient(loss_of_w, w), 1e-6, 1e-7}});
}

TEST_CASE("residual_rmsnorm agrees with double precision on every instruction set and thread count") {
  check_on_cpu(residual_rmsnorm_cases());
}

TEST_CASE("residual_rmsnorm: a zero row stays zero and has a finite gradient") {
  const TestBackend backend(make_cpu_backend(1));
  const Array x(*backend, DType::f32, 1, 9, Values(9)), n(*backend, DType::f32, 1, 9), rstd(*backend, DType::f32, 1, 1);
  const Array w(*backend, DType::f32, 1, 9, noise(1, 9)), dn(*backend, DType::f32, 1, 9, noise(2, 9));
  const Array dx(*backend, DType::f32, 1, 9, Values(9)), dw(*backend, DType::f32, 1, 9, Values(9));
  backend->residual_rmsnorm_forward({.sum = x, .n = n, .rstd = rstd, .x = x, .w = w, .eps = 1e-6f});
  CHECK(n.values() == Values(9));
  backend->residual_rmsnorm_backward({.dx = dx, .dw = dw, .dn = dn, .sum = x, .rstd = rstd, .w = w});
  CHECK(dw.values() == Values(9));
  for (const double g : dx.values()) CHECK(std::isfinite(g));
}

TEST_CASE("residual_rmsnorm: running forward again gives the same bits, also from a stored bf16 sum") {
  const TestBackend backend(make_cpu_backend(2));
  const Array x(*backend, DType::bf16, 40, 70, noise(1, 2800)), y(*backend, DType::bf16, 40, 70, noise(2, 2800));
  const Array w(*backend, DType::f32, 1, 70, noise(3, 70)), sum(*backend, DType::bf16, 40, 70);
  const Array n1(*backend, DType::bf16, 40, 70), n2(*backend, DType::bf16, 40, 70);
  const Array rstd1(*backend, DType::f32, 1, 40), rstd2(*backend, DType::f32, 1, 40);
  backend->residual_rmsnorm_forward({.sum = sum, .n = n1, .rstd = rstd1, .x = x, .y = y, .w = w, .eps = 1e-6f});
  backend->residual_rmsnorm_forward({.sum = sum, .n = n2, .rstd = rstd2, .x = sum, .w = w, .eps = 1e-6f});
  CHECK(same_bits(n1.values(), n2.values()));
  CHECK(same_bits(rstd1.values(), rstd2.values()));
}

TEST_CASE("residual_rmsnorm says which tensor does not fit") {
  const TestBackend backend(make_cpu_backend(1));
  const Array x(*backend, DType::f32, 4, 8), w(*backend, DType::f32, 1, 7), rstd(*backend, DType::f32, 1, 4);
  const Array ids(*backend, DType::i32, 4, 8);
  CHECK_THROWS_WITH(backend->residual_rmsnorm_forward({.sum = x, .n = x, .rstd = rstd, .x = x, .w = w, .eps = 0.0f}),
                    "residual_rmsnorm_forward: w must have 8 elements without gaps, got (1,7)");
  CHECK_THROWS_WITH(backend->residual_rmsnorm_forward({.sum = x, .n = ids, .rstd = rstd, .x = x, .w = w, .eps = 0.0f}),
                    "residual_rmsnorm_forward: n must be f32, bf16, fp8_e4m3 or i8, got i32");
  const Array codes(*backend, DType::i8, 4, 8), weight(*backend, DType::f32, 1, 8);
  Tensor bare = codes;
  bare.scales = nullptr;
  CHECK_THROWS_WITH(
      backend->residual_rmsnorm_forward({.sum = x, .n = bare, .rstd = rstd, .x = x, .w = weight, .eps = 0.0f}),
      "residual_rmsnorm_forward: n has codes of i8 without scales");
}
