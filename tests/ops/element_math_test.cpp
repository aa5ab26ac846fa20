// The element math of include/bittern/quant, as the CPU's ops use it: inlined into loops that are compiled for every
// instruction set (ops/cpu/machine/simd.h).
#include <cstdint>
#include <vector>

#include "bittern/quant/codebook.h"
#include "bittern/quant/dynamic8.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/log_quantizer.h"
#include "bittern/quant/philox.h"
#include "catch.h"
#include "ops/cpu/machine/simd.h"
#include "ops/every_isa.h"

using namespace bittern;
using namespace bittern::cpu;

namespace {

constexpr std::int64_t n = 20000;

struct Inputs {
  std::vector<float> any, unit, positive;  // any magnitude and sign; [-1, 1); [0, 1)
  std::vector<std::uint32_t> word;
};

Inputs inputs() {
  Inputs in;
  for (std::int64_t i = 0; i < n; ++i) {
    const PhiloxBlock b = philox_block(philox_key(11, Purpose::test), static_cast<std::uint64_t>(4 * i), 0, 0);
    in.word.push_back(b.word[0]);
    in.any.push_back(bits_float(b.word[1]));
    in.unit.push_back(bits_float((b.word[2] & 0x80000000u) | (0x3f800000u - (b.word[2] & 0x0dffffffu))));
    in.positive.push_back(in.unit.back() * in.unit.back());
  }
  return in;
}

/// Every function's result for every input, one after the other, as bits.
std::vector<std::uint32_t> everything(const Inputs& in) {
  std::vector<std::uint32_t> all;
  const auto add = [&](auto f) {
    std::vector<std::uint32_t> out(n);
    const float *any = in.any.data(), *unit = in.unit.data(), *positive = in.positive.data();
    const std::uint32_t* word = in.word.data();
    std::uint32_t* to = out.data();
    simd([=] {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<std::uint32_t>(f(any[i], unit[i], positive[i], word[i]));
    });
    all.insert(all.end(), out.begin(), out.end());
  };
  add([](float any, float, float, std::uint32_t) { return to_e4m3(any); });
  add([](float, float unit, float, std::uint32_t word) { return to_e4m3_stochastic(unit, word); });
  add([](float any, float, float, std::uint32_t) { return to_e5m2(any); });
  add([](float, float unit, float, std::uint32_t word) { return to_e5m2_stochastic(unit, word); });
  add([](float, float, float, std::uint32_t word) { return float_bits(e4m3_to_float(word & 0xffu)); });
  add([](float, float, float, std::uint32_t word) { return float_bits(e5m2_to_float(word & 0xffu)); });
  add([](float any, float, float, std::uint32_t) { return round_nearest_even_to_grid(any, -8, 7); });
  add([](float, float unit, float, std::uint32_t word) { return round_stochastic_to_grid(7 * unit, -8, 7, word); });
  const CodebookTable<4>& de4 = dynamic_exponent<4, true, true>;
  const CodebookTable<8>& dynamic8 = dynamic_exponent<8, true, true>;
  const float *threshold = de4.threshold, *level = de4.level, *level8 = dynamic8.level;
  add([=](float any, float, float, std::uint32_t) { return nearest_code<4>(any, threshold); });
  add([=](float, float unit, float, std::uint32_t word) { return stochastic_code<4>(unit, level, 16, word); });
  add([=](float, float unit, float, std::uint32_t word) {
    return stochastic_code(unit, nearest_code(unit, dynamic8_signed), level8, 256, word);
  });
  for (const int bits : {2, 4}) {
    float average = 0;
    simd([&] { average = quantile(in.positive.data(), 1000, 0.1f); });
    const LogBlock block = log_block(1.0f, average, bits);
    all.push_back(float_bits(block.alpha));
    const LogEncoder encoder = log_encoder(block, bits);
    add([=](float, float, float positive, std::uint32_t) { return float_bits(log_position(positive, encoder)); });
    add([=](float, float, float positive, std::uint32_t word) { return log_stochastic(positive, encoder, word); });
  }
  add([](float, float unit, float, std::uint32_t) { return float_bits(exp2_f32(100 * unit)); });
  return all;
}

}  // namespace

TEST_CASE("element math: the same codes in every instruction set") {
  const Inputs in = inputs();
  std::vector<std::uint32_t> portable;  // the first
  on_every_isa([&] {
    if (portable.empty()) portable = everything(in);
    CHECK(everything(in) == portable);
  });
}
