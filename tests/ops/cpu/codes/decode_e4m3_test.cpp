#include "ops/cpu/codes/decode_e4m3.h"

#include <algorithm>
#include <vector>

#include "bittern/quant/fp8.h"
#include "catch.h"
#include "ops/every_isa.h"

using namespace bittern;

TEST_CASE("decode_e4m3: every code, any number of them, nothing written beyond, on every instruction set") {
  std::vector<std::uint8_t> codes(256 + 67);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i);
  const auto right = [](std::uint8_t code) -> std::uint16_t {
    if ((code & 0x7f) == 0x7f) return static_cast<std::uint16_t>(0x7ff0 | (code & 0x80) << 8);
    return static_cast<std::uint16_t>(float_bits(e4m3_to_float(code)) >> 16);
  };
  constexpr std::uint16_t untouched = 0x1234;
  cpu::on_every_isa([&] {
    for (std::size_t count = 0; count <= codes.size(); count = count < 67 ? count + 1 : count + 64) {
      const std::size_t offset = count % 3;
      std::vector<bf16> out(codes.size() + 64, bf16{untouched});
      const std::size_t n = std::min(count, codes.size() - offset);
      cpu::decode_e4m3(out.data() + offset, codes.data() + offset, static_cast<std::int64_t>(n));
      int wrong = 0;
      for (std::size_t i = 0; i < out.size(); ++i)
        wrong += out[i].bits != (i >= offset && i < offset + n ? right(codes[i]) : untouched);
      REQUIRE(wrong == 0);
    }
  });
}
