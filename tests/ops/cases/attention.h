// The table of attention's cases: forward and backward, and the sequence fed in pieces to caches.
#pragma once

#include <algorithm>
#include <cmath>

#include "ops/attention_reference.h"
#include "ops/cases.h"

namespace bittern {

struct AttentionOnBackend {
  test::AttentionCase of;
  std::int64_t gap = 0;    ///< between rows
  std::int64_t piece = 1;  ///< rows fed to the caches at a time

  std::string name() const { return "attention " + of.text() + (gap ? " with gaps" : ""); }
  Array qkv(Backend& backend) const {
    return {backend, of.dtype, of.rows(), of.shape.packed(), noise(1, of.rows() * of.shape.packed(), 3.0), gap};
  }
  /// Weights are all positive and sum to 1, so what counts is the error beside the largest value.
  Output beside_largest(const char* what, const Array& actual, const Values& expected, double f32, double bf16) const {
    actual.check_canary();
    double largest = 1e-30;
    for (const double x : expected) largest = std::max(largest, std::fabs(x));
    return {what, actual.values(), expected, 0.0, largest * (actual.tensor().dtype == DType::bf16 ? bf16 : f32)};
  }

  std::vector<Output> forward_and_backward(Backend& backend) const {
    const Array input = qkv(backend), out(backend, of.dtype, of.rows(), of.out_cols(), {}, gap);
    const Array lse(backend, DType::f32, of.shape.batch * of.shape.heads, of.shape.sequence_length);
    const Array dinput(backend, of.dtype, of.rows(), of.shape.packed(), {}, gap);
    const Array dout(backend, of.dtype, of.rows(), of.out_cols(), noise(2, of.rows() * of.out_cols()), gap);
    backend.attention_forward({.shape = of.shape, .scores = of.scores, .qkv = input, .out = out, .lse = lse});
    backend.attention_backward(
        {.shape = of.shape, .scores = of.scores, .qkv = input, .out = out, .lse = lse, .dqkv = dinput, .dout = dout});
    const test::AttentionReference truth(of.shape, input.values(), dout.values(), of.scores);
    // bf16 rounds the logits' operands, but lse is f32 and of the operands as they are.
    return {beside_largest("out", out, truth.out, of.bound(2e-6), 1e-2),
            beside_largest("lse", lse, truth.lse, of.bound(2e-6), 0),
            beside_largest("dqkv", dinput, truth.dqkv, of.bound(5e-6), 1.5e-2)};
  }

  std::vector<Output> cached(Backend& backend) const {
    const std::int64_t T = of.shape.sequence_length, kv = of.shape.kv_heads * of.shape.head_dim, capacity = T + 3;
    const Array input = qkv(backend), out(backend, of.dtype, T, of.out_cols(), {}, gap);
    const Array k(backend, of.dtype, capacity, kv), v(backend, of.dtype, capacity, kv);
    for (std::int64_t done = 0; done < T; done += piece) {
      AttentionShape part = of.shape;
      part.sequence_length = std::min(piece, T - done);
      backend.attention_cached({.shape = part,
                                .scores = of.scores,
                                .qkv = input.tensor().slice_rows(done, part.sequence_length),
                                .out = out.tensor().slice_rows(done, part.sequence_length),
                                .k_cache = k,
                                .v_cache = v,
                                .first_position = done});
    }
    const Values all = input.values();
    const test::AttentionReference truth(of.shape, all, {}, of.scores);
    // The caches hold the keys and values as they came; rows that nobody wrote are the canary, a NaN.
    const auto kept = [&](const char* what, const Array& cache, std::int64_t first) -> Output {
      Values actual = cache.values(), expected;
      for (std::int64_t t = 0; t < T; ++t)
        for (std::int64_t i = 0; i < kv; ++i)
          expected.push_back(all[static_cast<std::size_t>(t * of.shape.packed() + first + i)]);
      for (std::size_t i = expected.size(); i < actual.size(); ++i) REQUIRE(std::isnan(actual[i]));
      actual.resize(expected.size());
      return {what, actual, expected, 0.0, 0.0};
    };
    return {beside_largest("out", out, truth.out, of.bound(2e-6), 1e-2), kept("k_cache", k, of.out_cols()),
            kept("v_cache", v, of.out_cols() + kv)};
  }
};

inline std::vector<AttentionOnBackend> attention_table() {
  std::vector<AttentionOnBackend> table;
  for (const DType act : acts) {
    const auto add = [&](std::int64_t B, std::int64_t T, std::int64_t H, std::int64_t KV, std::int64_t D,
                         std::int64_t piece = 1, std::int64_t gap = 0, const AttentionScores& scores = {}) {
      table.push_back({.of = {.shape = {.batch = B, .sequence_length = T, .heads = H, .kv_heads = KV, .head_dim = D},
                              .dtype = act,
                              .scores = scores},
                       .gap = gap,
                       .piece = piece});
    };
    for (std::int64_t T = 1; T <= 65; ++T) {
      add(1, T, 2, 1, 16, 1 + T * 5 % 13);
      add(1, T, 2 + T % 2, 1, 2 + T * 14 % 66, T % 3 == 0 ? 6 : T % 3 == 1 ? T : 1);
    }
    for (const std::int64_t T : {127, 128}) add(1, T, 2, 2, 32, 50);
    for (const std::int64_t D : {2, 4, 6, 8, 10, 16, 30, 32, 34, 48, 64, 80, 96, 128})
      for (const std::int64_t batch : {1, 2}) add(batch, 67, 2, 1, D);
    for (const std::int64_t group : {1, 2, 3, 4, 5, 8}) add(1, 77, 2 * group, 2, 8, 7);
    for (const std::int64_t batch : {1, 3}) add(batch, 40, 6, 3, 6, 1, 5);
    for (const std::int64_t window : {1, 2, 7, 63, 64, 65, 150, 200}) {  // the tiles are of 64 keys
      add(1, 200, 2, 1, 8, 37, 0, {.window = window});
      add(1, 150, 3, 1, 16, 1, 0, {.window = window});
    }
    add(1, 90, 4, 2, 32, 11, 0, {.scale = 0.05f});
    add(1, 90, 4, 2, 32, 90, 0, {.softcap = 2.0f});
    add(2, 150, 4, 2, 24, 1, 5, {.scale = 0.3f, .softcap = 5.0f, .window = 40});
    add(1, 150, 4, 2, 256, 13, 0, {.scale = 0.1f, .softcap = 50.0f, .window = 17});
  }
  return table;
}

inline std::vector<Case> attention_cases() {
  std::vector<Case> cases;
  for (const AttentionOnBackend& c : attention_table()) {
    cases.push_back({c.name(), [c](Backend& b) { return c.forward_and_backward(b); }});
    if (c.of.shape.batch == 1)
      cases.push_back({c.name() + fmt::format(" in pieces of {}", c.piece), [c](Backend& b) { return c.cached(b); }});
  }
  return cases;
}

}  // namespace bittern
