// quant_bench: nanoseconds of CPU time per element of the element math of include/bittern/quant, in every instruction
// set, one thread, data in the L2 cache: what an optimizer step pays beside its memory traffic.
//   quant_bench
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/quant/codebook.h"
#include "bittern/quant/dynamic8.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/log_quantizer.h"
#include "bittern/quant/packing.h"
#include "bittern/quant/philox.h"
#include "ops/cpu/machine/simd.h"

using namespace bittern;
using namespace bittern::cpu;

namespace {

constexpr std::int64_t n = 1 << 16;  // less, and the branches of nth_element would be learnt by heart
float x[n], positive[n], decoded[n];
std::uint32_t word[n];
std::uint8_t code[n], packed[n], small[n];  // small: below 4

struct Row {
  const char* name;
  std::function<void()> work;
};

/// to[i] = f(i), in the instruction set in use. What the loop reads is copied out of the closure first: a store of
/// bytes may alias whatever has an address, so g++ would read captures again for every element, and not vectorise.
template <typename T, typename F>
Row map(const char* name, T* to, F f) {
  return {name, [to, f] {
            simd([to, f] {
              T* out = to;
              const F g = f;
#pragma omp simd
              for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(g(i));
            });
          }};
}

/// The best of several repetitions: neighbours on the machine only ever add.
double nanoseconds(const std::function<void()>& work) {
  const auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec);
  };
  double best = 1e30;
  for (int repetition = 0; repetition < 12; ++repetition) {
    const double start = now();
    for (int i = 0; i < 20; ++i) work();
    best = std::min(best, (now() - start) / (20 * n));
  }
  return best;
}

std::vector<Row> rows() {
  const float* threshold4 = dynamic_exponent<4, true, true>.threshold;
  const float* level4 = dynamic_exponent<4, true, true>.level;
  const float* threshold2 = dynamic_exponent<2, true, true>.threshold;
  const float* threshold8 = dynamic_exponent<8, true, true>.threshold;
  const float* level8 = dynamic_exponent<8, true, true>.level;
  const LogBlock block = log_block(1.0f, quantile(positive, n, 0.1f), 2);
  const LogEncoder encoder = log_encoder(block, 2);

  std::vector<Row> all = {
      map("to_e4m3", code, [](auto i) { return to_e4m3(x[i]); }),
      map("to_e4m3_stochastic", code, [](auto i) { return to_e4m3_stochastic(x[i], word[i]); }),
      map("e4m3_to_float", decoded, [](auto i) { return e4m3_to_float(code[i]); }),
      map("round_nearest_even_to_grid", code, [](auto i) { return round_nearest_even_to_grid(x[i], -7, 7); }),
      map("round_stochastic_to_grid", code, [](auto i) { return round_stochastic_to_grid(x[i], -7, 7, word[i]); }),
      map("nearest_code<2>", code, [=](auto i) { return nearest_code<2>(x[i], threshold2); }),
      map("nearest_code<4>", code, [=](auto i) { return nearest_code<4>(x[i], threshold4); }),
      map("stochastic_code<4>", code, [=](auto i) { return stochastic_code<4>(x[i], level4, 16, word[i]); }),
      map("nearest_code<8>", code, [=](auto i) { return nearest_code<8>(x[i], threshold8); }),
      map("dynamic8", code, [](auto i) { return nearest_code(x[i], dynamic8_signed); }),
      map("dynamic8, then stochastic", code,
          [=](auto i) { return stochastic_code(x[i], code[i], level8, 256, word[i]); }),
      map("level[code] * scale", decoded, [=](auto i) { return level8[code[i]] * 0.37f; }),
      map("log_nearest", code, [=](auto i) { return log_nearest(positive[i], encoder); }),
      map("log_stochastic", code, [=](auto i) { return log_stochastic(positive[i], encoder, word[i]); }),
      {"quantile of blocks of 128",
       [] {
         simd([] {
           for (std::int64_t i = 0; i < n; i += 128) decoded[i] = quantile(positive + i, 128, 0.1f);
         });
       }},
      {"... by std::nth_element",
       [] {
         for (std::int64_t i = 0; i < n; i += 128) {
           std::copy(positive + i, positive + i + 128, decoded + i);
           std::nth_element(decoded + i, decoded + i + 13, decoded + i + 128);
         }
       }},
  };
  for (const int bits : {2, 3, 4}) {
    all.push_back({"pack_codes", [bits] { simd([bits] { pack_codes(bits, small, 0, n, packed); }); }});
    all.push_back({"unpack_codes", [bits] { simd([bits] { unpack_codes(bits, packed, 0, n, code); }); }});
  }
  // The stochastic half of dynamic8 is a loop of its own, after the look-up.
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i].name == std::string_view("dynamic8, then stochastic"))
      all[i].work = [first = all[i - 1].work, second = all[i].work] {
        first();
        second();
      };
  return all;
}

}  // namespace

int main() {
  for (std::int64_t i = 0; i < n; ++i) {
    word[i] = philox(philox_key(1, Purpose::test), static_cast<std::uint64_t>(i), 0, 0);
    x[i] = 2 * uniform(philox(philox_key(2, Purpose::test), static_cast<std::uint64_t>(i), 0, 0)) - 1;
    positive[i] = x[i] * x[i];
    small[i] = static_cast<std::uint8_t>(word[i] & 3u);
  }
  const std::vector<Row> all = rows();
  std::printf("%-28s", "ns per element");
  for (const Isa choice : available_isas()) std::printf(" %12s", std::string(name(choice)).c_str());
  std::printf("\n");
  for (const Row& row : all) {
    std::printf("%-28s", row.name);
    for (const Isa choice : available_isas()) {
      set_isa(choice);
      row.work();
      std::printf(" %12.2f", nanoseconds(row.work));
    }
    std::printf("\n");
  }
}
