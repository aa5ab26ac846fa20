#include "ops/cases/embedding.h"

#include "bittern/token_order.h"
#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("embedding agrees with double precision on every instruction set and thread count") {
  check_on_cpu(embedding_cases());
}

TEST_CASE("token_order: rows grouped by token, in order, worked by hand") {
  const std::vector<std::int32_t> tokens = {5, 2, 5, 0, 2, 5};
  CHECK(token_order(tokens, 6) == std::vector<std::int32_t>{3, 0, 1, 3, 6, 0, 0, 0, 3, 1, 4, 0, 2, 5});
  CHECK(token_order({}, 6) == std::vector<std::int32_t>{0, 0});
  CHECK(token_order(std::vector<std::int32_t>{1}, 2) == std::vector<std::int32_t>{1, 0, 1, 0});
}

TEST_CASE("token_order: every row once, below its token, in increasing order") {
  const EmbeddingCase c{.N = 1000, .V = 50, .C = 1, .w = DType::f32, .act = DType::f32};
  const Values ids = c.ids();
  const std::vector<std::int32_t> tokens(ids.begin(), ids.end()), order = token_order(tokens, c.V);
  REQUIRE(order.size() == static_cast<std::size_t>(token_order_size(c.N)));
  const auto number = [&](std::int64_t i) { return order[static_cast<std::size_t>(i)]; };
  CHECK(number(order[0] + 1) == c.N);
  std::vector<int> seen(tokens.size());
  std::int32_t before = -1;
  for (std::int32_t run = 0; run < order[0]; ++run) {
    const std::int32_t first = number(1 + run), last = number(2 + run);
    REQUIRE(first < last);
    const std::int32_t token = tokens[static_cast<std::size_t>(number(c.N + 2 + first))];
    CHECK(token > before);
    before = token;
    for (std::int32_t i = first; i < last; ++i) {
      const std::int32_t row = number(c.N + 2 + i);
      CHECK(tokens[static_cast<std::size_t>(row)] == token);
      CHECK((i == first || row > number(c.N + 1 + i)));
      ++seen[static_cast<std::size_t>(row)];
    }
  }
  CHECK(seen == std::vector<int>(tokens.size(), 1));
}

TEST_CASE("embedding_backward: an order of another size is refused") {
  const TestBackend backend(make_cpu_backend(1));
  const Array dw(*backend, DType::f32, 4, 2), dout(*backend, DType::f32, 3, 2),
      ids(*backend, DType::i32, 1, 3, {1, 1, 1}), short_order(*backend, DType::i32, 1, 7);
  CHECK_THROWS_WITH(backend->embedding_backward({.dw = dw, .dout = dout, .tokens = ids, .order = short_order}),
                    "embedding_backward: order must have 8 elements without gaps, got (1,7)");
}
