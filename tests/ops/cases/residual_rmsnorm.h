// The table of residual_rmsnorm's cases.
#pragma once

#include "ops/cases.h"

namespace bittern {

struct RmsnormCase {
  std::int64_t N, C;
  DType x, y, sum, n;  ///< types of forward's tensors; backward takes dx as x, dn as n
  bool has_y = true, in_place = false;
  std::int64_t gap = 0;
  float offset = 0.0f;
  bool overwrite = false;  ///< backward: dx = rather than +=

  std::string name() const {
    return fmt::format("residual_rmsnorm N={} C={} x={} y={} sum={} n={}{}{}{}{}", N, C, text(x), has_y ? text(y) : "-",
                       text(sum), text(n), in_place ? " in place" : "", gap ? " with gaps" : "",
                       offset != 0.0f ? fmt::format(" offset {}", offset) : "", overwrite ? " overwritten" : "");
  }
  /// What normalised rows are multiplied by.
  Values factors(const Array& w) const {
    return reference::add(w.values(), Values(static_cast<std::size_t>(C), double{offset}));
  }

  std::vector<Output> forward(Backend& backend) const {
    const float eps = 1e-5f;
    const Array a(backend, x, N, C, noise(1, N * C, 2.0), gap), b(backend, y, N, C, noise(2, N * C), gap);
    const Array w(backend, DType::f32, 1, C, noise(3, C, 1.5));
    const Array s(backend, sum, N, C, {}, gap), out(backend, n, N, C, {}, gap), rstd(backend, DType::f32, 1, N);
    const Values a_before = a.values();
    const Array& stored = in_place ? a : s;
    backend.residual_rmsnorm_forward({.sum = stored,
                                      .n = out,
                                      .rstd = rstd,
                                      .x = a,
                                      .y = has_y ? b.tensor() : Tensor{},
                                      .w = w,
                                      .eps = eps,
                                      .offset = offset});
    const Values exact = has_y ? reference::add(a_before, b.values()) : a_before;
    // The norm is of what was stored: so is the reference, once the stored sum has been compared.
    const reference::Rmsnorm norm = reference::rmsnorm(stored.values(), factors(w), eps);
    return {output("sum", stored, exact), output("n", out, norm.n), output("rstd", rstd, norm.rstd)};
  }

  /// n as codes of type q, sum and rstd as they are beside an n in f32.
  std::vector<Output> forward_to(DType q, Backend& backend) const {
    const float eps = 1e-5f;
    const Array a(backend, x, N, C, noise(1, N * C, 2.0), gap), copy(backend, x, N, C, noise(1, N * C, 2.0), gap);
    const Array b(backend, y, N, C, noise(2, N * C), gap), w(backend, DType::f32, 1, C, noise(3, C, 1.5));
    const Array f32(backend, DType::f32, N, C), f32_sum(backend, sum, N, C), f32_rstd(backend, DType::f32, 1, N);
    const Array codes(backend, q, N, C, {}, gap), own_sum(backend, sum, N, C, {}, gap), rstd(backend, DType::f32, 1, N);
    const Array& stored = in_place ? a : own_sum;
    const Tensor second = has_y ? b.tensor() : Tensor{}, place = has_y || in_place ? stored.tensor() : Tensor{};
    backend.residual_rmsnorm_forward({.sum = has_y ? f32_sum.tensor() : Tensor{},
                                      .n = f32,
                                      .rstd = f32_rstd,
                                      .x = copy,
                                      .y = second,
                                      .w = w,
                                      .eps = eps,
                                      .offset = offset});
    backend.residual_rmsnorm_forward(
        {.sum = place, .n = codes, .rstd = rstd, .x = a, .y = second, .w = w, .eps = eps, .offset = offset});
    std::vector<Output> outputs = quantized_outputs(backend, "n", codes, f32);
    outputs.push_back({"rstd", rstd.values(), f32_rstd.values(), 0.0, 0.0});
    if (has_y) outputs.push_back({"sum", stored.values(), f32_sum.values(), 0.0, 0.0});
    return outputs;
  }

  std::vector<Output> backward(Backend& backend) const {
    const float eps = 1e-5f;
    const Array s(backend, sum, N, C, noise(1, N * C, 2.0), gap), dn(backend, n, N, C, noise(2, N * C), gap);
    const Array w(backend, DType::f32, 1, C, noise(3, C, 1.5));
    const Array dx(backend, x, N, C, noise(4, N * C), gap), dw(backend, DType::f32, 1, C, noise(5, C));
    const Array rstd(backend, DType::f32, 1, N, reference::rmsnorm(s.values(), factors(w), eps).rstd);
    const reference::RmsnormGradient expected = reference::rmsnorm_backward(dn.values(), s.values(), factors(w), eps);
    const Values dx_before = overwrite ? Values(dx.values().size()) : dx.values(), dw_before = dw.values();
    backend.residual_rmsnorm_backward(
        {.dx = dx, .dw = dw, .dn = dn, .sum = s, .rstd = rstd, .w = w, .offset = offset, .overwrite = overwrite});
    return {output("dx", dx, reference::add(dx_before, expected.dx), 4.0),
            output("dw", dw, reference::add(dw_before, expected.dw), static_cast<double>(N))};
  }
};

inline std::vector<Case> residual_rmsnorm_cases() {
  std::vector<Case> cases;
  const auto add = [&](const RmsnormCase& c) {
    cases.push_back({c.name() + " forward", [c](Backend& b) { return c.forward(b); }});
    cases.push_back({c.name() + " backward", [c](Backend& b) { return c.backward(b); }});
  };
  for (const std::int64_t C : tail_sizes())
    for (const DType act : acts) add({.N = 3, .C = C, .x = act, .y = act, .sum = act, .n = act});
  for (const DType x : acts)
    for (const DType y : acts)
      for (const DType sum : acts)
        for (const DType n : acts) add({.N = 67, .C = 45, .x = x, .y = y, .sum = sum, .n = n, .gap = 3});
  // 300 rows of 257: several parts, which threads share.
  for (const DType act : acts)
    for (const DType q : {DType::e4m3, DType::i8})
      for (const auto& [N, C] : {std::pair{67, 1}, {67, 31}, {5, 64}, {300, 257}})
        for (const auto& [has_y, in_place] : {std::pair{false, false}, {true, false}, {false, true}, {true, true}}) {
          const RmsnormCase c{
              .N = N, .C = C, .x = act, .y = act, .sum = act, .n = q, .has_y = has_y, .in_place = in_place, .gap = 3};
          cases.push_back({c.name() + " forward", [c](Backend& b) { return c.forward_to(c.n, b); }});
        }
  for (const DType act : acts)
    for (const auto& [offset, overwrite] : {std::pair{1.0f, false}, {0.0f, true}, {1.0f, true}})
      add({.N = 67, .C = 45, .x = act, .y = act, .sum = act, .n = act, .offset = offset, .overwrite = overwrite});
  for (const DType act : acts) {
    add({.N = 5, .C = 33, .x = act, .y = act, .sum = act, .n = DType::f32, .in_place = true});
    add({.N = 5, .C = 33, .x = act, .y = DType::f32, .sum = act, .n = act, .has_y = false});
    add({.N = 5, .C = 33, .x = act, .y = DType::f32, .sum = act, .n = act, .has_y = false, .in_place = true});
    for (const std::int64_t N : {1, 31, 32, 33, 64, 65, 511})
      add({.N = N, .C = 64, .x = act, .y = act, .sum = act, .n = act});
  }
  return cases;
}

}  // namespace bittern
