#include "ops/cases/glu.h"

#include <algorithm>

#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("glu: the reference's gradients are the numeric ones") {
  const Values gate = noise(1, 9, 3.0), up = noise(2, 9), dout = noise(3, 9);
  for (auto* const activation : {reference::silu, reference::gelu_tanh}) {
    const auto loss_of_gate = [&](const Values& v) { return reference::dot(reference::glu(*activation, v, up), dout); };
    const auto loss_of_up = [&](const Values& v) { return reference::dot(reference::glu(*activation, gate, v), dout); };
    const reference::GluGradient gradient = reference::glu_backward(*activation, gate, up, dout);
    check_outputs("glu", {{"dgate", gradient.dgate, reference::numeric_gradient(loss_of_gate, gate), 1e-6, 1e-7},
                          {"dup", gradient.dup, reference::numeric_gradient(loss_of_up, up), 1e-6, 1e-7}});
  }
}

TEST_CASE("glu: the largest gates have finite values and slopes") {
  const TestBackend backend(make_cpu_backend(1));
  for (const Activation activation : {Activation::silu, Activation::gelu_tanh}) {
    const double gates[] = {3e38, -3e38, 1e20, -1e20, 0.0};
    Values both;
    for (const double gate : gates) both.insert(both.end(), {gate, 1.0});
    const Array gate_up(*backend, DType::f32, 5, 2, both), out(*backend, DType::f32, 5, 1),
        dout(*backend, DType::f32, 5, 1, Values(5, 0.5));
    backend->glu_backward({.gate_up = gate_up, .out = out, .dout = dout, .activation = activation});
    const Values gradient = gate_up.values(), value = out.values();
    const double slopes[] = {1, 0, 1, 0, 0.5};
    for (std::size_t i = 0; i < 5; ++i) {
      CHECK(value[i] == Approx(std::max(gates[i], 0.0)));
      CHECK(gradient[2 * i] == Approx(0.5 * slopes[i]));
    }
  }
}

TEST_CASE("glu agrees with double precision on every instruction set and thread count") {
  check_on_cpu(glu_cases());
}

TEST_CASE("glu: backward may take dout in out's memory") {
  const TestBackend backend(make_cpu_backend(2));
  for (const DType act : acts) {
    const Array a(*backend, act, 33, 2 * 47, noise(1, 33 * 94)), b(*backend, act, 33, 2 * 47, noise(1, 33 * 94));
    const Array dout(*backend, act, 33, 47, noise(2, 33 * 47)), out(*backend, act, 33, 47),
        both(*backend, act, 33, 47, noise(2, 33 * 47));
    backend->glu_backward({.gate_up = a, .out = out, .dout = dout, .activation = Activation::silu});
    backend->glu_backward({.gate_up = b, .out = both, .dout = both, .activation = Activation::silu});
    CHECK(same_bits(a.values(), b.values()));
    CHECK(same_bits(out.values(), both.values()));
  }
}

TEST_CASE("glu says which tensor does not fit") {
  const TestBackend backend(make_cpu_backend(1));
  const Array out(*backend, DType::f32, 4, 8), gate_up(*backend, DType::f32, 4, 15);
  CHECK_THROWS_WITH(backend->glu_forward({.out = out, .gate_up = gate_up, .activation = Activation::silu}),
                    "glu_forward: gate_up must have 4 rows of 16 elements, got (4,15)");
  const Array packed(*backend, DType::i4, 4, 8), wide(*backend, DType::f32, 4, 16);
  CHECK_THROWS_WITH(backend->glu_forward({.out = packed, .gate_up = wide, .activation = Activation::silu}),
                    "glu_forward: out must be f32, bf16, fp8_e4m3 or i8, got i4");
}
