#include "ops/cases/qk_norm_rope.h"

#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("qk_norm_rope: the reference's gradients are the numeric ones") {
  const std::size_t D = 8;
  const Values x = noise(1, D), w = noise(2, D), dy = noise(3, D);
  Values cosine, sine;
  for (std::size_t i = 0; i < D / 2; ++i)
    cosine.push_back(std::cos(static_cast<double>(i))), sine.push_back(std::sin(static_cast<double>(i)));
  const auto forward = [&](const Values& v, const Values& weight) {
    return reference::rotate(reference::rmsnorm(v, weight, 1e-3).n, cosine, sine);
  };
  const auto loss_of_x = [&](const Values& v) { return reference::dot(forward(v, w), dy); };
  const auto loss_of_w = [&](const Values& v) { return reference::dot(forward(x, v), dy); };
  const auto gradient = reference::rmsnorm_backward(reference::rotate(dy, cosine, sine, -1), x, w, 1e-3);
  check_outputs("qk_norm_rope", {{"dx", gradient.dx, reference::numeric_gradient(loss_of_x, x), 1e-6, 1e-7},
                                 {"dw", gradient.dw, reference::numeric_gradient(loss_of_w, w), 1e-6, 1e-7}});
}

TEST_CASE("qk_norm_rope agrees with double precision on every instruction set and thread count") {
  check_on_cpu(qk_norm_rope_cases());
}

TEST_CASE("qk_norm_rope: position 0 is not rotated, and backward undoes forward") {
  const TestBackend backend(make_cpu_backend(1));
  const QkNormRopeCase c{.shape = {.batch = 2, .sequence_length = 4, .heads = 2, .kv_heads = 1, .head_dim = 16},
                         .norm = false,
                         .qkv = DType::f32};
  const Array x(*backend, DType::f32, 8, c.shape.packed(), noise(1, 8 * c.shape.packed()));
  const Array table(*backend, DType::f32, 5, 16, c.rope());
  const Values before = x.values();
  backend->qk_norm_rope_forward({.shape = c.shape, .qkv = x, .rope = table});
  const Values rotated = x.values();
  for (const std::size_t row : {0, 4})
    for (std::size_t i = 0; i < 64; ++i) CHECK(rotated[row * 64 + i] == before[row * 64 + i]);
  CHECK_FALSE(same_bits(rotated, before));
  backend->qk_norm_rope_backward({.shape = c.shape, .dqkv = x, .rope = table});
  check_outputs("round trip", {output("qkv", x, before)});
}

TEST_CASE("qk_norm_rope refuses positions beyond the table and odd heads") {
  const TestBackend backend(make_cpu_backend(1));
  const Array x(*backend, DType::f32, 4, 48), table(*backend, DType::f32, 4, 16);
  QkNormRopeForward args{.shape = {.batch = 1, .sequence_length = 4, .heads = 1, .kv_heads = 1, .head_dim = 16},
                         .qkv = x,
                         .rope = table,
                         .first_position = 1};
  CHECK_THROWS_WITH(backend->qk_norm_rope_forward(args),
                    "qk_norm_rope_forward: positions 1 to 4 are outside the rope table of 4 rows");
  args.shape.head_dim = 15;
  CHECK_THROWS_WITH(backend->qk_norm_rope_forward(args), "qk_norm_rope_forward: head_dim must be even, got 15");
}
