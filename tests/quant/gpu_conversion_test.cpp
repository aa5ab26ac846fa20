// The conversions of include/bittern/quant against those of a GPU's own instructions (tests/golden/gpu).
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "bittern/quant/bf16.h"
#include "bittern/quant/fp8.h"
#include "catch.h"
#include "source_dir.h"

using namespace bittern;

namespace {

struct Conversion {
  std::uint32_t x, e4m3, e5m2, bf16, ex2, lg2, rcp, rsqrt, tanh;
};

std::vector<Conversion> conversions() {
  std::ifstream file(bittern::source_dir() + "/tests/golden/gpu/conformance.bin", std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  std::vector<Conversion> all(1 << 14);
  REQUIRE(bytes.size() > all.size() * sizeof(Conversion));
  std::memcpy(all.data(), bytes.data(), all.size() * sizeof(Conversion));
  return all;
}

}  // namespace

TEST_CASE("every argument becomes the E4M3, E5M2 and bf16 that a GPU makes of it") {
  int not_numbers = 0;
  for (const Conversion& gpu : conversions()) {
    const float x = bits_float(gpu.x);
    CAPTURE(gpu.x, x);
    if (std::isnan(x)) {  // its payload is nobody's business
      ++not_numbers;
      REQUIRE(std::isnan(e4m3_to_float(static_cast<std::uint8_t>(gpu.e4m3))) == std::isnan(e4m3_to_float(to_e4m3(x))));
      REQUIRE(std::isnan(e5m2_to_float(static_cast<std::uint8_t>(gpu.e5m2))) == std::isnan(e5m2_to_float(to_e5m2(x))));
      REQUIRE(std::isnan(to_float(to_bf16(x))));
      continue;
    }
    REQUIRE(to_e4m3(x) == gpu.e4m3);
    REQUIRE(to_e5m2(x) == gpu.e5m2);
    REQUIRE(to_bf16(x).bits == gpu.bf16);
  }
  REQUIRE(not_numbers > 10);
}
