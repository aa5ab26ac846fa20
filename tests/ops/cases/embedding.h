// The table of embedding's cases.
#pragma once

#include "bittern/token_order.h"
#include "ops/cases.h"

namespace bittern {

struct EmbeddingCase {
  std::int64_t N, V, C;
  DType w, act;
  std::int64_t different = 0;  ///< how many different tokens there are; 0: all V
  std::int64_t gap = 0;
  float scale = 1.0f;

  std::string name() const {
    return fmt::format("embedding N={} V={} C={} w={} act={} {} different{} scale {}", N, V, C, text(w), text(act),
                       different ? different : V, gap ? " with gaps" : "", scale);
  }
  Values ids() const {
    Values out = noise(7, N, 0.5);
    for (double& x : out) x = std::floor((x + 0.5) * static_cast<double>(different ? different : V));
    if (!different && N > 1) out[0] = 0, out[1] = static_cast<double>(V - 1);
    return out;
  }

  /// token_order of the ids, in the back end's memory.
  static Values order(const Values& ids, std::int64_t V) {
    const std::vector<std::int32_t> tokens(ids.begin(), ids.end()), order = token_order(tokens, V);
    return {order.begin(), order.end()};
  }

  std::vector<Output> forward(Backend& backend) const {
    const Array table(backend, w, V, C, noise(1, V * C), gap), out(backend, act, N, C, {}, gap);
    const Array tokens(backend, DType::i32, 1, N, ids());
    backend.embedding_forward({.out = out, .w = table, .tokens = tokens, .scale = scale});
    const Array rounded(backend, act, V, C, table.values());  // to out's type, before it is scaled
    const Values from = rounded.values();
    Values expected;
    for (const double id : ids())
      for (std::int64_t i = 0; i < C; ++i)
        expected.push_back(double{scale} * from[static_cast<std::size_t>(static_cast<std::int64_t>(id) * C + i)]);
    return {output("out", out, expected, double{scale})};
  }
  std::vector<Output> backward(Backend& backend) const {
    const Array dw(backend, DType::f32, V, C, noise(1, V * C), gap), dout(backend, act, N, C, noise(2, N * C), gap);
    const Array tokens(backend, DType::i32, 1, N, ids());
    const Array by_token(backend, DType::i32, 1, token_order_size(N), order(ids(), V));
    Values expected = dw.values();
    const Values from = dout.values(), rows = ids();
    for (std::int64_t n = 0; n < N; ++n)
      for (std::int64_t i = 0; i < C; ++i)
        expected[static_cast<std::size_t>(static_cast<std::int64_t>(rows[static_cast<std::size_t>(n)]) * C + i)] +=
            double{scale} * from[static_cast<std::size_t>(n * C + i)];
    backend.embedding_backward({.dw = dw, .dout = dout, .tokens = tokens, .order = by_token, .scale = scale});
    return {output("dw", dw, expected, static_cast<double>(N) * double{scale})};
  }
};

inline std::vector<Case> embedding_cases() {
  std::vector<Case> cases;
  const auto add = [&](const EmbeddingCase& c) {
    cases.push_back({c.name() + " forward", [c](Backend& b) { return c.forward(b); }});
    cases.push_back({c.name() + " backward", [c](Backend& b) { return c.backward(b); }});
  };
  for (const std::int64_t C : tail_sizes())
    add({.N = 9, .V = 5, .C = C, .w = DType::f32, .act = C % 2 ? DType::f32 : DType::bf16});
  for (const DType w : acts)
    for (const DType act : acts) {
      add({.N = 300, .V = 77, .C = 130, .w = w, .act = act, .gap = 2});
      add({.N = 300, .V = 77, .C = 257, .w = w, .act = act, .different = 1});
      add({.N = 1, .V = 1, .C = 640, .w = w, .act = act});
    }
  for (const DType w : code_types)
    for (const DType act : acts)
      for (const std::int64_t C : {1, 7, 64, 1001})
        add({.N = 40, .V = 77, .C = C, .w = w, .act = act, .gap = C % 2 ? 8 : 0});
  for (const DType w : acts)
    for (const DType act : acts) add({.N = 60, .V = 17, .C = 90, .w = w, .act = act, .scale = 25.25f});
  add({.N = 40, .V = 77, .C = 64, .w = DType::e4m3, .act = DType::bf16, .scale = 3.0f});
  add({.N = 3, .V = 70001, .C = 3, .w = DType::bf16, .act = DType::f32});
  return cases;
}

}  // namespace bittern
