#include "ops/cpu/machine/cpu_features.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "bittern/error.h"
#include "catch.h"
#include "ops/cpu/machine/simd.h"
#include "ops/every_isa.h"

using namespace bittern;
using namespace bittern::cpu;

TEST_CASE("isa: the portable one is always there, and the default is one that the machine has") {
  const std::vector<Isa> all = available_isas();
  REQUIRE(!all.empty());
  CHECK(all.front() == Isa::portable);
  CHECK(std::find(all.begin(), all.end(), isa()) != all.end());
}

TEST_CASE("isa: each one can be forced, and one that is missing is refused with the list of the others") {
  const Settings settings;
  for (const Isa choice : available_isas()) {
    set_isa(choice);
    CHECK(isa() == choice);
  }
  if (available_isas().back() != Isa::amx_bf16) {
    std::string message;
    try {
      set_isa(Isa::amx_bf16);
    } catch (const Error& e) {
      message = e.what();
    }
    CHECK(message.find("amx_bf16 cannot run") != std::string::npos);
    CHECK(message.find("portable") != std::string::npos);
  }
}

TEST_CASE("simd: a body gives the same numbers in every instruction set") {
  on_every_isa([&] {
    for (std::int64_t n = 0; n <= 65; ++n) {
      std::vector<float> x(static_cast<std::size_t>(n)), y(static_cast<std::size_t>(n), 0.5f);
      for (std::int64_t i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i);
      float sum = 0.0f;
      simd([&] {
        const float* a = x.data();
        float* b = y.data();
        float total = 0.0f;
#pragma omp simd reduction(+ : total)
        for (std::int64_t i = 0; i < n; ++i) {
          b[i] = std::fma(a[i], 2.0f, b[i]);
          total += a[i];
        }
        sum = total;
      });
      REQUIRE(sum == static_cast<float>(n * (n - 1) / 2));
      for (std::int64_t i = 0; i < n; ++i)
        REQUIRE(y[static_cast<std::size_t>(i)] == 2.0f * static_cast<float>(i) + 0.5f);
    }
  });
}
