// What ops report to the profile: the bytes that their opening comments say they move, each input read once and each
// output written once (what is small beside the matrices is not counted: a scale or a number a row, a weight a column),
// and, of products, the operations.
#include "bittern/profile.h"

#include <functional>

#include "ops/cpu.h"
#include "optim/step_support.h"

using namespace bittern;

namespace {

constexpr std::int64_t N = 6, C = 8, V = 40, O = 10, F = 12;  // rows, columns, vocabulary, outputs, width of the MLP
constexpr AttentionShape shape{.batch = 2, .sequence_length = 3, .heads = 4, .kv_heads = 2, .head_dim = 4};
constexpr std::int64_t Q = 4 * 4, K = 2 * 4, packed = Q + 2 * K;  // columns of q, of k (and of v), of all three
constexpr double in_f32 = 4, in_bf16 = 2, in_codes = 1;           // bytes of an element

/// Expects exactly one op to be reported by `run`, by this name and cost.
void check_cost(const char* op, double bytes, double flops, const std::function<void()>& run) {
  INFO(op);
  Profile profile;
  Profile::current() = &profile;
  run();
  Profile::current() = nullptr;
  REQUIRE(profile.costs().size() == 1);
  REQUIRE(profile.costs().begin()->first == op);
  const OpCost& cost = profile.costs().begin()->second;
  CHECK(cost.calls == 1);
  CHECK(cost.seconds > 0);
  CHECK(cost.bytes == bytes);
  CHECK(cost.flops == flops);
}

/// An op's arguments: matrices of f32 (the default) or of another type.
struct Matrices {
  explicit Matrices(Backend& backend_) : backend(backend_) {}
  const Tensor& operator()(std::int64_t rows, std::int64_t cols, DType dtype = DType::f32) {
    arrays.push_back(std::make_unique<Array>(backend, dtype, rows, cols, noise(1, rows * cols)));
    return arrays.back()->tensor();
  }
  Tensor vector(std::int64_t size, DType dtype = DType::f32) {
    const Tensor row = (*this)(1, size, dtype);
    return {row.data, dtype, Shape{size}};
  }
  /// Ids 0: in any vocabulary.
  Tensor ids(std::int64_t count) {
    arrays.push_back(std::make_unique<Array>(backend, DType::i32, 1, count, Values(static_cast<std::size_t>(count))));
    return {arrays.back()->tensor().data, DType::i32, Shape{count}};
  }

  Backend& backend;
  std::vector<std::unique_ptr<Array>> arrays;
};

}  // namespace

TEST_CASE("profile: element-wise ops move what their comments say") {
  const TestBackend backend(make_cpu_backend(1));
  Matrices make(*backend);
  const DType half = DType::bf16, e4m3 = DType::e4m3;

  check_cost("zero", N * C * in_bf16, 0, [&] { backend->zero({.x = make(N, C, half)}); });
  check_cost("copy", N * C * (in_f32 + in_bf16), 0,
             [&] { backend->copy({.to = make(N, C, half), .from = make(N, C)}); });
  check_cost("copy", N * C * (in_bf16 + in_codes), 0,
             [&] { backend->copy({.to = make(N, C, half), .from = make(N, C, e4m3)}); });
  check_cost("quantize", N * C * (in_f32 + in_codes), 0,
             [&] { backend->quantize({.q = make(N, C, e4m3), .x = make(N, C)}); });
  check_cost("quantize", N * C * (in_bf16 + in_codes), 0,
             [&] { backend->quantize({.q = make(N, C, DType::i8), .x = make(N, C, half)}); });

  // N rows of w, however many there are in all.
  check_cost("embedding_forward", N * C * (in_bf16 + in_f32), 0,
             [&] { backend->embedding_forward({.out = make(N, C, half), .w = make(V, C), .tokens = make.ids(N)}); });
  check_cost("embedding_forward", N * C * (in_f32 + in_codes), 0,
             [&] { backend->embedding_forward({.out = make(N, C), .w = make(V, C, e4m3), .tokens = make.ids(N)}); });
  check_cost("embedding_backward", N * C * (in_bf16 + 2 * in_f32), 0, [&] {
    backend->embedding_backward(
        {.dw = make(V, C), .dout = make(N, C, half), .tokens = make.ids(N), .order = make.ids(2 * N + 2)});
  });

  // Forward: x and y in, sum and n out; without y nothing but n, unless the sum is another tensor than x.
  const Tensor x = make(N, C), w = make.vector(C), rstd = make.vector(N), none;
  check_cost("residual_rmsnorm_forward", N * C * (in_f32 + in_bf16 + in_f32 + in_bf16), 0, [&] {
    backend->residual_rmsnorm_forward(
        {.sum = x, .n = make(N, C, half), .rstd = rstd, .x = x, .y = make(N, C, half), .w = w, .eps = 1e-6f});
  });
  check_cost("residual_rmsnorm_forward", N * C * (in_f32 + in_bf16), 0, [&] {
    backend->residual_rmsnorm_forward(
        {.sum = none, .n = make(N, C, half), .rstd = rstd, .x = x, .y = none, .w = w, .eps = 1e-6f});
  });
  check_cost("residual_rmsnorm_forward", N * C * (in_f32 + in_bf16 + in_f32), 0, [&] {
    backend->residual_rmsnorm_forward(
        {.sum = make(N, C), .n = make(N, C, half), .rstd = rstd, .x = x, .y = none, .w = w, .eps = 1e-6f});
  });
  // Backward: dx in and out, dn and sum in.
  check_cost("residual_rmsnorm_backward", N * C * (2 * in_f32 + in_bf16 + in_f32), 0, [&] {
    backend->residual_rmsnorm_backward(
        {.dx = make(N, C), .dw = make.vector(C), .dn = make(N, C, half), .sum = make(N, C), .rstd = rstd, .w = w});
  });

  check_cost("glu_forward", N * F * (2 * in_bf16 + in_f32), 0, [&] {
    backend->glu_forward({.out = make(N, F), .gate_up = make(N, 2 * F, half), .activation = Activation::silu});
  });
  check_cost("glu_backward", N * F * (2 * 2 * in_bf16 + in_f32 + in_f32), 0, [&] {
    backend->glu_backward(
        {.gate_up = make(N, 2 * F, half), .out = make(N, F), .dout = make(N, F), .activation = Activation::silu});
  });

  check_cost("bias_backward", N * O * in_bf16, 0,
             [&] { backend->bias_backward({.dbias = make.vector(O), .dy = make(N, O, half)}); });

  const auto cross_entropy = [&](bool backward) {
    backend->cross_entropy({.logits = make(N, V, half),
                            .targets = make.ids(N),
                            .loss = make.vector(N),
                            .lse_squared = make.vector(N),
                            .scale = make.vector(1),
                            .z_loss = 0,
                            .backward = backward});
  };
  check_cost("cross_entropy", N * V * in_bf16, 0, [&] { cross_entropy(false); });
  check_cost("cross_entropy", 2 * N * V * in_bf16, 0, [&] { cross_entropy(true); });

  const std::vector<Tensor> gradients = {make(N, C), make.vector(O)};
  const std::int64_t count = square_parts_of(gradients[0]) + square_parts_of(gradients[1]);
  const Tensor parts(make.vector(2 * count).data, DType::u8, Shape{8 * count});
  check_cost("square_parts", (N * C + O) * in_f32, 0,
             [&] { backend->square_parts({.parts = parts, .gradients = gradients}); });
  check_cost("norm_of_parts", static_cast<double>(parts.bytes()), 0,
             [&] { backend->norm_of_parts({.norm = make.vector(2), .parts = parts, .max_norm = 1}); });
}

TEST_CASE("profile: rotations move q and k; with a norm, whole rows forward, and the raw q and k backward") {
  const TestBackend backend(make_cpu_backend(1));
  Matrices make(*backend);
  const std::int64_t heads = shape.heads + shape.kv_heads, D = shape.head_dim;
  QkNormRopeForward forward{.shape = shape, .qkv = make(N, packed), .rope = make(8, D), .eps = 1e-6f};
  QkNormRopeBackward backward{.shape = shape, .dqkv = make(N, packed), .rope = forward.rope};
  check_cost("qk_norm_rope_forward", 2 * N * (Q + K) * in_f32, 0, [&] { backend->qk_norm_rope_forward(forward); });
  check_cost("qk_norm_rope_backward", 2 * N * (Q + K) * in_f32, 0, [&] { backend->qk_norm_rope_backward(backward); });
  forward.q_norm = backward.q_norm = make.vector(D);
  forward.k_norm = backward.k_norm = make.vector(D);
  forward.qkv_raw = backward.qkv_raw = make(N, packed, DType::bf16);
  forward.q_norm_rstd = backward.q_norm_rstd = make(N, heads);
  backward.dq_norm = make.vector(D);
  backward.dk_norm = make.vector(D);
  check_cost("qk_norm_rope_forward", N * packed * (in_f32 + in_bf16), 0,
             [&] { backend->qk_norm_rope_forward(forward); });
  check_cost("qk_norm_rope_backward", N * (Q + K) * (2 * in_f32 + in_bf16), 0,
             [&] { backend->qk_norm_rope_backward(backward); });
}

TEST_CASE("profile: products report 2 m n k operations, attention those below its diagonal") {
  const TestBackend backend(make_cpu_backend(1));
  Matrices make(*backend);
  const double products = 2.0 * N * O * C;
  const DType half = DType::bf16, e4m3 = DType::e4m3;
  check_cost("linear_forward", N * C * in_f32 + O * C * in_codes + O * in_f32 + N * O * in_bf16, products, [&] {
    backend->linear_forward(
        {.y = make(N, O, half), .x = make(N, C), .w = make(O, C, e4m3), .bias = make.vector(O), .compute = DType::f32});
  });
  check_cost("linear_backward_input", N * O * in_bf16 + O * C * in_codes + N * C * in_f32, products, [&] {
    backend->linear_backward_input(
        {.dx = make(N, C), .dy = make(N, O, half), .w = make(O, C, e4m3), .compute = DType::bf16});
  });
  check_cost("linear_backward_weight", N * O * in_bf16 + N * C * in_f32 + O * C * in_f32, products, [&] {
    backend->linear_backward_weight(
        {.dw = make(O, C), .dy = make(N, O, half), .x = make(N, C), .accumulate = false, .compute = DType::bf16});
  });
  check_cost("linear_backward_weight", N * O * in_bf16 + N * C * in_f32 + 2 * O * C * in_f32, products, [&] {
    backend->linear_backward_weight(
        {.dw = make(O, C), .dy = make(N, O, half), .x = make(N, C), .accumulate = true, .compute = DType::bf16});
  });

  // A query sees t + 1 keys: T (T + 1) / 2 of them in all, for each a product of D multiplications and D additions.
  const double product = 2.0 * 2 * 4 * (3 * 4 / 2) * 4,
               lse_bytes = 2 * 4 * 3 * in_f32;  // B H (T (T + 1) / 2) D;  B H T
  const Tensor qkv = make(N, packed), out = make(N, Q), lse{make(8, 3).data, DType::f32, Shape{2, 4, 3}};
  // Forward: q k^T and p v. Backward: q k^T again, dout v^T, and the gradients of q, k and v.
  check_cost("attention_forward", N * (packed + Q) * in_f32 + lse_bytes, 2 * product,
             [&] { backend->attention_forward({.shape = shape, .qkv = qkv, .out = out, .lse = lse}); });
  check_cost("attention_backward", 2 * N * (packed + Q) * in_f32 + lse_bytes, 5 * product, [&] {
    backend->attention_backward(
        {.shape = shape, .qkv = qkv, .out = out, .lse = lse, .dqkv = make(N, packed), .dout = make(N, Q)});
  });
}

TEST_CASE("profile: optimizer_step moves the gradient once, and twice what it keeps") {
  const TestBackend backend(make_cpu_backend(1));
  const std::int64_t n = 6 * 256;
  const auto check_step = [&](const StepOptions& options, double bytes) {
    StoredParameter parameter(*backend, options, normals(n, 1));
    check_cost("optimizer_step", bytes, 0, [&] { parameter.step(normals(n, 2), 1); });
  };
  const double gradient = n * in_f32, blocks = 6 * 2;
  check_step({.shape = {6, 256}}, gradient + 2 * n * (in_f32 + in_f32 + in_f32));
  check_step({.shape = {6, 256}, .rule = UpdateRule::sgdm}, gradient + 2 * n * (in_f32 + in_f32));
  // A weight with a master is only written. Moments in codes have a scale for each block of 128.
  check_step({.shape = {6, 256}, .weight = {.storage = WeightStorage::fp8_e4m3, .master = Master::f32}, .m = "bf16"},
             gradient + n * in_codes + 2 * n * (in_f32 + in_bf16 + in_f32));
  check_step({.shape = {6, 256}, .weight = {.storage = WeightStorage::fp8_e4m3}, .m = "dynamic8", .v = "dynamic8"},
             gradient + 2 * (n * in_codes + 2 * (n * in_codes + blocks * in_f32)));
}
