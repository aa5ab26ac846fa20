#include "ops/cases/global_norm.h"

#include <limits>

#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("global_norm agrees with double precision on every instruction set and thread count") {
  check_on_cpu(global_norm_cases());
}

TEST_CASE("global_norm: the clip scale by worked numbers, just below and above the limit") {
  const TestBackend backend(make_cpu_backend(1));
  const auto clip = [&](const Values& gradient, float max_norm) {
    const Array g(*backend, DType::f32, 1, static_cast<std::int64_t>(gradient.size()), gradient),
        norm(*backend, DType::f32, 1, 2);
    const Tensor all[] = {g};
    backend->global_norm({.norm = norm, .gradients = all, .max_norm = max_norm});
    return norm.values();
  };
  CHECK(clip({6, 8}, 1.0f) == Values{10, static_cast<double>(0.1f)});
  CHECK(clip({0.6, 0.8}, 1.0f)[1] == 1.0);
  CHECK(clip({3, 4}, 5.0f) == Values{5, 1});
  CHECK(clip({3, 4}, 4.9999f)[1] < 1.0);
  CHECK(clip({3, 4}, 5.0001f)[1] == 1.0);
  CHECK(clip({3, 4}, 0.0f) == Values{5, 1});  // 0: no clipping
  CHECK(clip({0, 0}, 1.0f) == Values{0, 1});
}

TEST_CASE("global_norm: any non-finite gradient makes the norm non-finite") {
  const TestBackend backend(make_cpu_backend(2));
  for (const double bad : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::quiet_NaN()})
    for (const std::size_t where : {0u, 15u, 16u, 20000u, 39999u}) {
      Values gradient(40000, 1.0);
      gradient[where] = bad;
      const Array a(*backend, DType::f32, 1, 7, Values(7, 1.0)), b(*backend, DType::f32, 1, 40000, gradient);
      const Array norm(*backend, DType::f32, 1, 2);
      const Tensor all[] = {a, b};
      backend->global_norm({.norm = norm, .gradients = all, .max_norm = 1.0f});
      CHECK_FALSE(std::isfinite(norm.values()[0]));
    }
}
