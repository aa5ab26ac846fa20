// The table of quantize's cases.
#pragma once

#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "ops/cases.h"

namespace bittern {

struct QuantizeCase {
  std::int64_t N, C;
  DType x, q;
  double size = 1.0;  ///< of the values
  std::int64_t gap = 0;

  /// The codes and scales that the definition gives, in fp32 as the op must.
  std::vector<Output> run(Backend& backend) const {
    const Array in(backend, x, N, C, noise(1, N * C, size), gap), out(backend, q, N, C, {}, gap);
    backend.quantize({.q = out, .x = in});
    const Values values = in.values();
    Values expected, scales;
    for (std::int64_t n = 0; n < N; ++n) {
      float absmax = q == DType::i8 ? 1e-5f : 0.0f;
      for (std::int64_t i = 0; i < C; ++i) absmax = std::max(absmax, std::abs(at(values, n, i)));
      const float scale = absmax == 0.0f ? 1.0f : absmax / (q == DType::i8 ? 127.0f : largest_e4m3),
                  inverse = 1.0f / scale;
      scales.push_back(scale);
      for (std::int64_t i = 0; i < C; ++i) {
        const float t = at(values, n, i) * inverse;
        expected.push_back((q == DType::i8 ? std::nearbyint(static_cast<double>(t)) : e4m3_to_float(to_e4m3(t))) *
                           static_cast<double>(scale));
      }
    }
    Output coded = output("q", out, expected), scaled{"scales", out.scales(), scales, 0.0, 0.0};
    coded.relative = coded.absolute = 0.0;  // exact
    return {coded, scaled};
  }

  float at(const Values& values, std::int64_t n, std::int64_t i) const {
    return static_cast<float>(values[static_cast<std::size_t>(n * C + i)]);
  }
};

inline std::vector<Case> quantize_cases() {
  std::vector<Case> cases;
  for (const DType x : acts)
    for (const DType q : {DType::e4m3, DType::i8}) {
      const auto add = [&](std::int64_t N, std::int64_t C, double size, std::int64_t gap) {
        const QuantizeCase c{.N = N, .C = C, .x = x, .q = q, .size = size, .gap = gap};
        cases.push_back({fmt::format("quantize N={} C={} {} -> {} size {}{}", N, C, text(x), text(q), size,
                                     gap ? " with gaps" : ""),
                         [c](Backend& b) { return c.run(b); }});
      };
      for (const std::int64_t C : tail_sizes()) add(3, C, 1.0, 0);
      for (const double size : {0.0, 1e-30, 1e-7, 1e-3, 1e4, 1e30}) add(5, 77, size, 3);
      add(300, 130, 3.0, 5);
    }
  return cases;
}

}  // namespace bittern
