// What the tables of cases do not reach: rows longer than a block holds in registers, wrong ids, and bits that must be the
// CPU's.
#include <limits>

#include "bittern/cuda_backend.h"
#include "bittern/noted_call.h"
#include "emulator/emulator.h"
#include "ops/cases/cross_entropy.h"
#include "ops/cases/embedding.h"
#include "ops/cases/glu.h"
#include "ops/cases/linear.h"
#include "ops/cases/qk_norm_rope.h"
#include "ops/cases/quantize.h"
#include "ops/cases/residual_rmsnorm.h"
#include "ops/cases/step.h"

using namespace bittern;

namespace {

/// By index and in two random orders.
template <class F>
void in_some_orders(F test) {
  for (const std::uint64_t seed : {0, 5, 6}) {
    emulator::set_schedule(seed);
    const TestBackend backend(make_cuda_backend({}));
    test(*backend);
  }
  emulator::set_schedule(0);
}

}  // namespace

TEST_CASE("rows longer than the registers of a block: norms, quantize, glu") {
  in_some_orders([](Backend& backend) {
    for (const std::int64_t C : {2056, 4104, 8200, 8201, 9008})
      for (const DType t : acts) {
        RmsnormCase norm{.N = 2, .C = C, .x = t, .y = t, .sum = t, .n = t};
        check_outputs(norm.name(), norm.forward(backend));
        check_outputs(norm.name(), norm.backward(backend));
        norm.in_place = true;
        check_outputs(norm.name(), norm.forward(backend));
        for (const DType codes : {DType::e4m3, DType::i8}) {
          check_outputs(norm.name(), norm.forward_to(codes, backend));
          check_outputs("quantize", QuantizeCase{.N = 2, .C = C, .x = t, .q = codes}.run(backend));
          const GluCase glu{.N = 2, .F = C, .gate_up = t, .out = codes, .dout = t};
          check_outputs(glu.name(), glu.to_codes(backend));
        }
      }
  });
}

TEST_CASE("head sizes beyond a warp's chunks: qk_norm_rope") {
  in_some_orders([](Backend& backend) {
    for (const std::int64_t D : {256, 544})
      for (const bool norm : {false, true}) {
        const QkNormRopeCase c{.shape = {.batch = 1, .sequence_length = 40, .heads = 2, .kv_heads = 1, .head_dim = D},
                               .norm = norm,
                               .qkv = DType::bf16};
        check_outputs(c.name(), c.forward(backend));
        check_outputs(c.name(), c.backward(backend));
      }
  });
}

TEST_CASE("embedding_backward has the CPU's bits in every order") {
  const auto run = [](Backend& backend) {
    constexpr std::int64_t N = 90, V = 7, C = 300;
    const Values ids = EmbeddingCase{.N = N, .V = V, .C = C, .w = DType::f32, .act = DType::f32}.ids();
    const Array dw(backend, DType::f32, V, C, noise(1, V * C)), dout(backend, DType::bf16, N, C, noise(2, N * C, 1e3));
    const Array tokens(backend, DType::i32, 1, N, ids),
        order(backend, DType::i32, 1, token_order_size(N), EmbeddingCase::order(ids, V));
    backend.embedding_backward({.dw = dw, .dout = dout, .tokens = tokens, .order = order});
    return dw.values();
  };
  const TestBackend cpu(make_cpu_backend(1));
  const Values expected = run(*cpu);
  in_some_orders([&](Backend& backend) { CHECK(run(backend) == expected); });
}

TEST_CASE("a wrong id is a fault of the record and touches no memory; the step is skipped") {
  in_some_orders([](Backend& backend) {
    const Record record(backend);
    backend.begin_step({.record = record.tensor()});
    const Array w(backend, DType::f32, 4, 9, noise(1, 36)), out(backend, DType::f32, 3, 9);
    const Array tokens(backend, DType::i32, 1, 3, {1, 4, 2});
    backend.embedding_forward({.out = out, .w = w, .tokens = tokens});
    out.check_canary();
    const Values values = out.values();
    CHECK(Values(values.begin() + 9, values.begin() + 18) == Values(9));
    CHECK(op_at(record.read().fault - 1) == EmbeddingForward::name);
    CHECK(record.read().fault_at == 1);

    const Array logits(backend, DType::f32, 2, 9, noise(1, 18)), targets(backend, DType::i32, 1, 2, {9, 3});
    const Array loss(backend, DType::f32, 1, 2), squared(backend, DType::f32, 1, 2);
    backend.cross_entropy({.logits = logits,
                           .targets = targets,
                           .loss = loss,
                           .lse_squared = squared,
                           .z_loss = 0.0f,
                           .backward = false});
    CHECK(loss.values()[0] == 0.0);
    CHECK(op_at(record.read().fault - 1) == EmbeddingForward::name);  // the first one stays
    StepRecord whole = record.read();
    whole.sums = {.loss = 1, .lse_squared = 1, .targets = 1};
    whole.norm = whole.clip = 1;
    backend.from_host(record.tensor().data, &whole, sizeof whole);
    backend.decide_step({.record = record.tensor()});
    CHECK(record.read().skipped == Skipped::not_finite);
  });
}

TEST_CASE("a NaN in a row of activations shows in that row's scale alone") {
  in_some_orders([](Backend& backend) {
    Values values = noise(1, 3 * 300);
    values[300 + 7] = std::numeric_limits<double>::quiet_NaN();
    const Array x(backend, DType::f32, 3, 300, values), q(backend, DType::e4m3, 3, 300);
    backend.quantize({.q = q, .x = x});
    CHECK(std::isfinite(q.scales()[0]));
    CHECK(std::isnan(q.scales()[1]));
    CHECK(std::isfinite(q.scales()[2]));
  });
}
