#include "ops/cases/quantize.h"

#include <limits>

#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("quantize gives the codes and scales of its definition on every instruction set and thread count") {
  check_on_cpu(quantize_cases());
}

TEST_CASE("quantize: what is not finite spoils its own row, and no other") {
  const TestBackend backend(make_cpu_backend(2));
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    for (const DType x : acts)
      for (const DType q : {DType::e4m3, DType::i8}) {
        Values values = noise(1, 3 * 50);
        values[50 + 31] = bad;
        const Array in(*backend, x, 3, 50, values), out(*backend, q, 3, 50);
        backend->quantize({.q = out, .x = in});
        const Values got = out.values();
        for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::isnan(got[i]) == (i / 50 == 1));
      }
}

TEST_CASE("quantize says what does not fit") {
  const TestBackend backend(make_cpu_backend(1));
  const Array x(*backend, DType::f32, 4, 8), q(*backend, DType::i4, 4, 8), wide(*backend, DType::i8, 4, 9);
  CHECK_THROWS_WITH(backend->quantize({.q = q, .x = x}), "quantize: q must be fp8_e4m3 or i8, got i4");
  CHECK_THROWS_WITH(backend->quantize({.q = wide, .x = x}), "quantize: q must have 4 rows of 8 elements, got (4,9)");
  Tensor bare = wide.tensor().slice_cols(0, 8);
  bare.scales = nullptr;
  CHECK_THROWS_WITH(backend->quantize({.q = bare, .x = x}), "quantize: q has codes of i8 without scales");
}
