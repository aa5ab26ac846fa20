// qk_norm_rope: what it checks and what it costs (bittern/ops.h).
#include <cstdint>
#include <string_view>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {
namespace {

/// What forward and backward check alike. `rotated`: the packed matrix that is turned, under its name.
template <class Args>
void check_args(const Args& args, std::string_view name_of_rotated, const Tensor& rotated) {
  const AttentionShape& s = args.shape;
  const std::int64_t N = s.rows(), D = s.head_dim;
  check(D > 0 && D % 2 == 0, "{}: head_dim must be even, got {}", args.name, D);
  Checked{args.name, name_of_rotated, rotated}.act().matrix(N, s.packed());
  Checked{args.name, "rope", args.rope}.of(DType::f32).vector(args.rope.rows() * D);
  check(args.first_position >= 0 && args.first_position + s.sequence_length <= args.rope.rows(),
        "{}: positions {} to {} are outside the rope table of {} rows", args.name, args.first_position,
        args.first_position + s.sequence_length - 1, args.rope.rows());
  check(static_cast<bool>(args.q_norm) == static_cast<bool>(args.k_norm),
        "{}: q_norm and k_norm come together or not at all", args.name);
  if (!args.q_norm) return;
  Checked{args.name, "q_norm", args.q_norm}.of(DType::f32).vector(D);
  Checked{args.name, "k_norm", args.k_norm}.of(DType::f32).vector(D);
  Checked{args.name, "qkv_raw", args.qkv_raw}.act().matrix(N, s.packed());
  Checked{args.name, "q_norm_rstd", args.q_norm_rstd}.of(DType::f32).vector(N * (s.heads + s.kv_heads));
}

/// Bytes of the q and k columns of a packed matrix.
double qk_bytes(const AttentionShape& s, DType dtype) {
  return static_cast<double>(s.rows() * (s.heads + s.kv_heads) * s.head_dim * size_of(dtype));
}

}  // namespace

Cost cost_of(const QkNormRopeForward& args) {
  if (!args.q_norm) return {.bytes = 2 * qk_bytes(args.shape, args.qkv.dtype)};
  return {.bytes = bytes_of(args.qkv) + bytes_of(args.qkv_raw)};
}

Cost cost_of(const QkNormRopeBackward& args) {
  const double raw = args.q_norm ? qk_bytes(args.shape, args.qkv_raw.dtype) : 0.0;
  return {.bytes = 2 * qk_bytes(args.shape, args.dqkv.dtype) + raw};
}

void Backend::qk_norm_rope_forward(const QkNormRopeForward& args) {
  check_args(args, "qkv", args.qkv);
  const OpScope scope(args.name, cost_of(args));
  do_qk_norm_rope_forward(args);
}

void Backend::qk_norm_rope_backward(const QkNormRopeBackward& args) {
  check_args(args, "dqkv", args.dqkv);
  if (args.q_norm) {
    Checked{args.name, "dq_norm", args.dq_norm}.of(DType::f32).vector(args.shape.head_dim);
    Checked{args.name, "dk_norm", args.dk_norm}.of(DType::f32).vector(args.shape.head_dim);
  }
  const OpScope scope(args.name, cost_of(args));
  do_qk_norm_rope_backward(args);
}

}  // namespace bittern
