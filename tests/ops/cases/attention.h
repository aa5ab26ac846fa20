// The table of attention's cases: forward and backward, and the sequence fed in pieces to caches.
#pragma once

#include <algorithm>
#include <cmath>

#include "ops/attention_reference.h"
#include "ops/cases.h"

namespace bittern {

struct AttentionOnBackend {
  AttentionShape shape;
  DType act;
  std::int64_t gap = 0;
  std::int64_t piece = 1;  ///< rows fed to the caches at a time

  std::string name() const {
    return fmt::format("attention B={} T={} H={} KV={} D={} {}{}", shape.batch, shape.sequence_length, shape.heads,
                       shape.kv_heads, shape.head_dim, text(act), gap ? " with gaps" : "");
  }
  std::int64_t rows() const { return shape.batch * shape.sequence_length; }
  std::int64_t width() const { return shape.heads * shape.head_dim; }
  Array qkv(Backend& backend) const {
    return {backend, act, rows(), shape.packed(), noise(1, rows() * shape.packed(), 3.0), gap};
  }
  /// Weights are all positive and sum to 1, so what counts is the error beside the largest value.
  Output beside_largest(const char* what, const Array& actual, const Values& expected, double f32, double bf16) const {
    actual.check_canary();
    double largest = 1e-30;
    for (const double x : expected) largest = std::max(largest, std::fabs(x));
    return {what, actual.values(), expected, 0.0, largest * (actual.tensor().dtype == DType::bf16 ? bf16 : f32)};
  }

  std::vector<Output> forward_and_backward(Backend& backend) const {
    const Array input = qkv(backend), out(backend, act, rows(), width(), {}, gap);
    const Array lse(backend, DType::f32, shape.batch * shape.heads, shape.sequence_length);
    const Array dinput(backend, act, rows(), shape.packed(), {}, gap);
    const Array dout(backend, act, rows(), width(), noise(2, rows() * width()), gap);
    const Attention args{.shape = shape, .qkv = input, .out = out, .lse = lse};
    backend.attention_forward(args);
    backend.attention_backward(args, dinput, dout);
    const test::AttentionReference truth(shape, input.values(), dout.values());
    // bf16 rounds the logits' operands, but lse is f32 and of the operands as they are.
    return {beside_largest("out", out, truth.out, 2e-6, 1e-2), beside_largest("lse", lse, truth.lse, 2e-6, 0),
            beside_largest("dqkv", dinput, truth.dqkv, 5e-6, 1.5e-2)};
  }

  std::vector<Output> cached(Backend& backend) const {
    const std::int64_t T = shape.sequence_length, kv = shape.kv_heads * shape.head_dim, capacity = T + 3;
    const Array input = qkv(backend), out(backend, act, T, width(), {}, gap);
    const Array k(backend, act, capacity, kv), v(backend, act, capacity, kv);
    for (std::int64_t done = 0; done < T; done += piece) {
      AttentionShape part = shape;
      part.sequence_length = std::min(piece, T - done);
      backend.attention_cached(out.tensor().slice_rows(done, part.sequence_length),
                               input.tensor().slice_rows(done, part.sequence_length), k, v, part, done);
    }
    const Values all = input.values();
    const test::AttentionReference truth(shape, all, {});
    // The caches hold the keys and values as they came; rows that nobody wrote are the canary, a NaN.
    const auto kept = [&](const char* what, const Array& cache, std::int64_t first) -> Output {
      Values actual = cache.values(), expected;
      for (std::int64_t t = 0; t < T; ++t)
        for (std::int64_t i = 0; i < kv; ++i)
          expected.push_back(all[static_cast<std::size_t>(t * shape.packed() + first + i)]);
      for (std::size_t i = expected.size(); i < actual.size(); ++i) REQUIRE(std::isnan(actual[i]));
      actual.resize(expected.size());
      return {what, actual, expected, 0.0, 0.0};
    };
    return {beside_largest("out", out, truth.out, 2e-6, 1e-2), kept("k_cache", k, width()),
            kept("v_cache", v, width() + kv)};
  }
};

inline std::vector<Case> attention_cases() {
  std::vector<Case> cases;
  const auto add = [&](const AttentionOnBackend& c) {
    cases.push_back({c.name(), [c](Backend& b) { return c.forward_and_backward(b); }});
    if (c.shape.batch == 1)
      cases.push_back({c.name() + fmt::format(" in pieces of {}", c.piece), [c](Backend& b) { return c.cached(b); }});
  };
  for (const DType act : acts) {
    for (std::int64_t T = 1; T <= 65; ++T)
      add({.shape = {.batch = 1, .sequence_length = T, .heads = 2, .kv_heads = 1, .head_dim = 16},
           .act = act,
           .piece = 1 + T * 5 % 13});
    for (const std::int64_t T : {127, 128})
      add({.shape = {.batch = 1, .sequence_length = T, .heads = 2, .kv_heads = 2, .head_dim = 32},
           .act = act,
           .piece = 50});
    for (const std::int64_t D : {2, 4, 6, 8, 10, 30, 32, 34, 48, 64, 80, 96, 128})
      for (const std::int64_t batch : {1, 2})
        add({.shape = {.batch = batch, .sequence_length = 67, .heads = 2, .kv_heads = 1, .head_dim = D}, .act = act});
    for (const std::int64_t group : {1, 2, 3, 4, 5, 8})
      add({.shape = {.batch = 1, .sequence_length = 77, .heads = 2 * group, .kv_heads = 2, .head_dim = 8},
           .act = act,
           .piece = 7});
    add({.shape = {.batch = 3, .sequence_length = 40, .heads = 6, .kv_heads = 3, .head_dim = 6}, .act = act, .gap = 5});
    add({.shape = {.batch = 1, .sequence_length = 40, .heads = 6, .kv_heads = 3, .head_dim = 6}, .act = act, .gap = 5});
  }
  return cases;
}

}  // namespace bittern
