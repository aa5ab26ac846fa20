#include <limits>

#include "ops/cases/linear.h"
#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("copy and zero are exact on every instruction set and thread count") {
  check_on_cpu(copy_cases());
}

TEST_CASE("copy to bf16 rounds to nearest even and keeps infinities and NaN, in vectors and tails") {
  const TestBackend backend(make_cpu_backend(1));
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const Values from = {1.0 + 0x1p-8, 1.0 + 3 * 0x1p-8, infinity, -infinity, nan, 3.4e38, -0.0, 1e-40};
  const Values to = {1.0, 1.0 + 0x1p-6, infinity, -infinity,
                     nan, infinity,     -0.0,     static_cast<double>(to_float(to_bf16(1e-40f)))};
  for (const std::size_t shift : {0u, 16u, 33u}) {
    Values padded(shift, 2.0), expected(shift, 2.0);
    padded.insert(padded.end(), from.begin(), from.end());
    expected.insert(expected.end(), to.begin(), to.end());
    const Array a(*backend, DType::f32, 1, static_cast<std::int64_t>(padded.size()), padded);
    const Array b(*backend, DType::bf16, 1, a.tensor().cols());
    backend->copy({.to = b, .from = a});
    const Values result = b.values();
    for (std::size_t i = 0; i < result.size(); ++i)
      CHECK((result[i] == expected[i] || (std::isnan(result[i]) && std::isnan(expected[i]))));
  }
}

TEST_CASE("copy refuses other sizes and types it cannot convert") {
  const TestBackend backend(make_cpu_backend(1));
  const Array a(*backend, DType::f32, 2, 3), b(*backend, DType::f32, 3, 2), ids(*backend, DType::i32, 2, 3);
  CHECK_THROWS_WITH(backend->copy({.to = a, .from = b}), "copy: from must have 2 rows of 3 elements, got (3,2)");
  CHECK_THROWS_WITH(backend->copy({.to = a, .from = ids}), "copy: from must be f32 or bf16, got i32");
}
