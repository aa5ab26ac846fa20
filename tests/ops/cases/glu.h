// The table of glu's cases.
#pragma once

#include "ops/cases.h"

namespace bittern {

struct GluCase {
  std::int64_t N, F;
  DType gate_up, out, dout;
  std::int64_t gap = 0;
  double scale = 3.0;  ///< of the gates: large ones saturate the sigmoid
  Activation activation = Activation::silu;

  std::string name() const {
    return fmt::format("glu {} N={} F={} gate_up={} out={} dout={}{} scale {}",
                       activation == Activation::silu ? "silu" : "gelu_tanh", N, F, text(gate_up), text(out),
                       text(dout), gap ? " with gaps" : "", scale);
  }
  auto reference_of() const -> reference::ActivationValue (&)(double) {
    return activation == Activation::silu ? reference::silu : reference::gelu_tanh;
  }

  /// Columns [first, first + F) of the rows of gate_up.
  Values half(const Values& both, std::int64_t first) const {
    Values part;
    for (std::int64_t r = 0; r < N; ++r)
      for (std::int64_t i = 0; i < F; ++i) part.push_back(both[static_cast<std::size_t>(r * 2 * F + first + i)]);
    return part;
  }

  std::vector<Output> forward(Backend& backend) const {
    const Array input(backend, gate_up, N, 2 * F, noise(1, 2 * N * F, scale), gap), h(backend, out, N, F, {}, gap);
    backend.glu_forward({.out = h, .gate_up = input, .activation = activation});
    return {output("out", h, reference::glu(reference_of(), half(input.values(), 0), half(input.values(), F)),
                   scale * scale)};
  }

  /// out as codes, from forward and from backward, whose gradient does not depend on it.
  std::vector<Output> to_codes(Backend& backend) const {
    const Values both = noise(1, 2 * N * F, scale);
    const Array input(backend, gate_up, N, 2 * F, both, gap), again(backend, gate_up, N, 2 * F, both, gap);
    const Array dh(backend, dout, N, F, noise(2, N * F), gap), f32(backend, DType::f32, N, F);
    const Array first(backend, out, N, F, {}, gap), second(backend, out, N, F, {}, gap);
    backend.glu_forward({.out = first, .gate_up = input, .activation = activation});
    backend.glu_backward({.gate_up = input, .out = second, .dout = dh, .activation = activation});
    backend.glu_forward({.out = f32, .gate_up = again, .activation = activation});
    std::vector<Output> outputs = quantized_outputs(backend, "forward", first, f32);
    for (Output& output : quantized_outputs(backend, "backward", second, f32)) outputs.push_back(std::move(output));
    backend.glu_backward({.gate_up = again, .out = f32, .dout = dh, .activation = activation});
    outputs.push_back({"dgate_up", input.values(), again.values(), 0.0, 0.0});
    return outputs;
  }

  std::vector<Output> backward(Backend& backend) const {
    const Array input(backend, gate_up, N, 2 * F, noise(1, 2 * N * F, scale), gap), h(backend, out, N, F, {}, gap);
    const Array dh(backend, dout, N, F, noise(2, N * F), gap);
    const Values gate = half(input.values(), 0), up = half(input.values(), F);
    backend.glu_backward({.gate_up = input, .out = h, .dout = dh, .activation = activation});
    const reference::GluGradient d = reference::glu_backward(reference_of(), gate, up, dh.values());
    Values both(static_cast<std::size_t>(2 * N * F));
    for (std::int64_t r = 0; r < N; ++r)
      for (std::int64_t i = 0; i < F; ++i) {
        both[static_cast<std::size_t>(r * 2 * F + i)] = d.dgate[static_cast<std::size_t>(r * F + i)];
        both[static_cast<std::size_t>(r * 2 * F + F + i)] = d.dup[static_cast<std::size_t>(r * F + i)];
      }
    return {output("dgate_up", input, both, scale * scale),
            output("out", h, reference::glu(reference_of(), gate, up), scale * scale)};
  }
};

inline std::vector<Case> glu_cases() {
  std::vector<Case> cases;
  const auto add = [&](const GluCase& c) {
    cases.push_back({c.name() + " forward", [c](Backend& b) { return c.forward(b); }});
    cases.push_back({c.name() + " backward", [c](Backend& b) { return c.backward(b); }});
  };
  for (const std::int64_t F : tail_sizes())
    for (const DType act : acts) add({.N = 2, .F = F, .gate_up = act, .out = act, .dout = act});
  for (const std::int64_t F : {1, 31, 64, 129})
    for (const DType act : acts)
      add({.N = 3, .F = F, .gate_up = act, .out = act, .dout = act, .activation = Activation::gelu_tanh});
  for (const DType gate_up : acts)
    for (const DType out : acts)
      for (const DType dout : acts) add({.N = 67, .F = 45, .gate_up = gate_up, .out = out, .dout = dout, .gap = 3});
  for (const DType act : acts)
    for (const DType q : {DType::e4m3, DType::i8})
      for (const auto& [N, F] : {std::pair{67, 1}, {67, 31}, {5, 64}, {300, 257}}) {  // the last: several parts
        const GluCase c{.N = N, .F = F, .gate_up = act, .out = q, .dout = act, .gap = 3};
        cases.push_back({c.name() + " to codes", [c](Backend& b) { return c.to_codes(b); }});
      }
  {
    const GluCase c{.N = 5,
                    .F = 64,
                    .gate_up = DType::bf16,
                    .out = DType::e4m3,
                    .dout = DType::bf16,
                    .activation = Activation::gelu_tanh};
    cases.push_back({c.name() + " to codes", [c](Backend& b) { return c.to_codes(b); }});
  }
  for (const double scale : {30.0, 300.0})
    for (const Activation activation : {Activation::silu, Activation::gelu_tanh})
      add({.N = 4,
           .F = 100,
           .gate_up = DType::f32,
           .out = DType::f32,
           .dout = DType::f32,
           .scale = scale,
           .activation = activation});
  return cases;
}

}  // namespace bittern
