#include "ops/cases/embedding.h"

#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("embedding agrees with double precision on every instruction set and thread count") {
  check_on_cpu(embedding_cases());
}

TEST_CASE("embedding: a token outside the vocabulary is named, and nothing is written") {
  const TestBackend backend(make_cpu_backend(2));
  const Array w(*backend, DType::f32, 10, 4, noise(1, 40)), out(*backend, DType::f32, 3, 4, Values(12));
  for (const double bad : {10.0, -1.0, 2147483647.0}) {
    const Array tokens(*backend, DType::i32, 1, 3, {0, 9, bad});
    const std::string sentence = fmt::format(": token {:.0f} of row 2 is outside the vocabulary; expected 0 to 9", bad);
    CHECK_THROWS_WITH(backend->embedding_forward(out, w, tokens), "embedding_forward" + sentence);
    CHECK(out.values() == Values(12));
    const Values before = w.values();
    CHECK_THROWS_WITH(backend->embedding_backward(w, out, tokens), "embedding_backward" + sentence);
    CHECK(w.values() == before);
  }
}
