#include "ops/cases/linear.h"

#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("linear: the reference's gradients are the numeric ones") {
  const std::size_t N = 3, O = 4, I = 5;
  const Values x = noise(1, N * I), w = noise(2, O * I), dy = noise(3, N * O);
  const auto loss_of_x = [&](const Values& v) {
    return reference::dot(reference::multiply_transposed(v, w, N, O, I), dy);
  };
  const auto loss_of_w = [&](const Values& v) {
    return reference::dot(reference::multiply_transposed(x, v, N, O, I), dy);
  };
  const Values dx = reference::multiply_transposed(dy, reference::transpose(w, O, I), N, I, O);
  const Values dw =
      reference::multiply_transposed(reference::transpose(dy, N, O), reference::transpose(x, N, I), O, I, N);
  check_outputs("linear", {{"dx", dx, reference::numeric_gradient(loss_of_x, x), 1e-6, 1e-7},
                           {"dw", dw, reference::numeric_gradient(loss_of_w, w), 1e-6, 1e-7}});
}

TEST_CASE("linear agrees with double precision on every instruction set and thread count") {
  check_on_cpu(linear_cases());
}

TEST_CASE("linear: products of ranges of rows have the bits of the whole product, if rows are not few") {
  const TestBackend backend(make_cpu_backend(2));
  const Array x(*backend, DType::bf16, 50, 40, noise(1, 2000)), w(*backend, DType::bf16, 30, 40, noise(2, 1200));
  const Array whole(*backend, DType::f32, 50, 30), parts(*backend, DType::f32, 50, 30);
  backend->linear_forward({.y = whole, .x = x, .w = w, .compute = DType::bf16});
  for (const auto& [first, count] : {std::pair{0, 13}, {13, 9}, {22, 28}})
    backend->linear_forward({.y = parts.tensor().slice_rows(first, count),
                             .x = x.tensor().slice_rows(first, count),
                             .w = w,
                             .compute = DType::bf16});
  CHECK(same_bits(whole.values(), parts.values()));
}

TEST_CASE("linear says which tensor does not fit") {
  const TestBackend backend(make_cpu_backend(1));
  const Array x(*backend, DType::f32, 4, 8), w(*backend, DType::f32, 5, 7), y(*backend, DType::f32, 4, 5);
  CHECK_THROWS_WITH(backend->linear_forward({.y = y, .x = x, .w = w, .compute = DType::f32}),
                    "linear_forward: w must have 5 rows of 8 elements, got (5,7)");
  const Array fits(*backend, DType::f32, 5, 8);
  CHECK_THROWS_WITH(backend->linear_forward({.y = y, .x = x, .w = fits, .compute = DType::i32}),
                    "linear_forward: compute must be f32 or bf16, got i32");
}
