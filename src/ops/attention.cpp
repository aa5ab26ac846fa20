// attention and its form for generation: what they check and what they cost (bittern/ops.h).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {
namespace {

void check_shape(std::string_view op, const AttentionShape& s) {
  check(s.batch >= 1 && s.sequence_length >= 1, "{}: empty batch ({} sequences of {})", op, s.batch, s.sequence_length);
  check(s.kv_heads >= 1 && s.heads >= 1 && s.heads % s.kv_heads == 0,
        "{}: {} query heads cannot share {} key/value heads evenly", op, s.heads, s.kv_heads);
  check(s.head_dim >= 2 && s.head_dim % 2 == 0 && s.head_dim <= 256,
        "{}: the head size must be even and from 2 to 256, got {}", op, s.head_dim);
}

void check_scores(std::string_view op, const AttentionScores& s) {
  check(std::isfinite(s.scale) && s.scale >= 0.0f,
        "{}: scores are multiplied by {}; it must be finite and not negative", op, s.scale);
  check(std::isfinite(s.softcap) && s.softcap >= 0.0f, "{}: the soft cap is {}; it must be finite and not negative", op,
        s.softcap);
  check(s.window >= 0, "{}: the window is {}; it must not be negative", op, s.window);
}

/// A matrix of the element type of qkv.
void check_matrix(std::string_view op, std::string_view name, const Tensor& x, const Tensor& qkv, std::int64_t rows,
                  std::int64_t cols) {
  Checked{op, name, x}.act().of(qkv.dtype).matrix(rows, cols);
}

/// What forward and backward check alike.
template <class Args>
void check_args(const Args& args) {
  const AttentionShape& s = args.shape;
  check_shape(args.name, s);
  check_scores(args.name, args.scores);
  check_matrix(args.name, "qkv", args.qkv, args.qkv, s.rows(), s.packed());
  check_matrix(args.name, "out", args.out, args.qkv, s.rows(), s.heads * s.head_dim);
  Checked{args.name, "lse", args.lse}.of(DType::f32).vector(s.rows() * s.heads);
}

/// Pairs of a query and a key that it sees, for queries at positions first, ..., first + count - 1.
double visible_pairs(std::int64_t first, std::int64_t count, std::int64_t window) {
  const auto up_to = [&](std::int64_t queries) {                                     // of the queries 0 .. queries - 1
    const std::int64_t growing = window == 0 ? queries : std::min(queries, window);  // those that see all keys
    return 0.5 * static_cast<double>(growing) * static_cast<double>(growing + 1) +
           static_cast<double>(queries - growing) * static_cast<double>(window);
  };
  return up_to(first + count) - up_to(first);
}

/// Of one product of queries with the keys that they see: without a window half of T x T, and the diagonal.
template <class Args>
double product_flops(const Args& args) {
  const AttentionShape& s = args.shape;
  return 2 * static_cast<double>(s.batch * s.heads * s.head_dim) *
         visible_pairs(0, s.sequence_length, args.scores.window);
}

}  // namespace

Cost cost_of(const AttentionForward& args) {
  return {.bytes = bytes_of(args.qkv) + bytes_of(args.out) + bytes_of(args.lse), .flops = 2 * product_flops(args)};
}

/// Reads qkv, out, dout and lse, writes dqkv. Five products: the weights again, and the gradients of weights, v, q, k.
Cost cost_of(const AttentionBackward& args) {
  return {.bytes = 2 * bytes_of(args.qkv) + 2 * bytes_of(args.out) + bytes_of(args.lse),
          .flops = 5 * product_flops(args)};
}

/// Reads qkv and the rows of the caches that are seen, writes the new rows of the caches and out.
Cost cost_of(const AttentionCached& args) {
  const AttentionShape& s = args.shape;
  const std::int64_t rows = args.qkv.rows(), kv_cols = s.kv_heads * s.head_dim;
  const std::int64_t window = args.scores.window;
  const std::int64_t before = window == 0 ? args.first_position : std::min(args.first_position, window - 1);
  const std::int64_t kept = 2 * (before + 2 * rows) * kv_cols * size_of(args.qkv.dtype);
  const double keys = visible_pairs(args.first_position, rows, window);
  return {.bytes = bytes_of(args.qkv) + bytes_of(args.out) + static_cast<double>(kept),
          .flops = 4 * static_cast<double>(s.heads * s.head_dim) * keys};
}

void Backend::attention_forward(const AttentionForward& args) {
  check_args(args);
  const OpScope scope(args.name, cost_of(args));
  do_attention_forward(args);
}

void Backend::attention_backward(const AttentionBackward& args) {
  check_args(args);
  const AttentionShape& s = args.shape;
  check_matrix(args.name, "dqkv", args.dqkv, args.qkv, s.rows(), s.packed());
  check_matrix(args.name, "dout", args.dout, args.qkv, s.rows(), s.heads * s.head_dim);
  const OpScope scope(args.name, cost_of(args));
  do_attention_backward(args);
}

void Backend::attention_cached(const AttentionCached& args) {
  const AttentionShape& s = args.shape;
  check_shape(args.name, s);
  check_scores(args.name, args.scores);
  const std::int64_t rows = args.qkv.rows(), kv_cols = s.kv_heads * s.head_dim, positions = args.k_cache.rows();
  check_matrix(args.name, "qkv", args.qkv, args.qkv, rows, s.packed());
  check_matrix(args.name, "out", args.out, args.qkv, rows, s.heads * s.head_dim);
  check_matrix(args.name, "k_cache", args.k_cache, args.qkv, positions, kv_cols);
  check_matrix(args.name, "v_cache", args.v_cache, args.qkv, positions, kv_cols);
  check(args.first_position >= 0 && rows >= 1 && args.first_position + rows <= positions,
        "{}: positions {} to {} do not fit a cache of {}", args.name, args.first_position,
        args.first_position + rows - 1, positions);
  const OpScope scope(args.name, cost_of(args));
  do_attention_cached(args);
}

}  // namespace bittern
