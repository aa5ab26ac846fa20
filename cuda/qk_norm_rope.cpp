// qk_norm_rope: arguments and scratch for the kernels (qk_norm_rope.cu).
#include "cuda/qk_norm_rope.h"

#include "cuda/backend.h"
#include "cuda/column_sums.h"
#include "cuda/rows_of.h"

namespace bittern::cuda {
namespace {

/// What forward and backward have alike.
template <class Args>
QkNormRopeArgs unpack(const Args& args, const Tensor& qkv) {
  const AttentionShape& shape = args.shape;
  QkNormRopeArgs to{};
  to.qkv = rows_of(qkv);
  to.rope = rows_of(args.rope.slice_rows(args.first_position, shape.sequence_length));
  to.rows = shape.rows();
  to.sequence_length = shape.sequence_length;
  to.heads = static_cast<int>(shape.heads);
  to.kv_heads = static_cast<int>(shape.kv_heads);
  to.head_dim = static_cast<int>(shape.head_dim);
  if (!args.q_norm) return to;
  to.qkv_raw = rows_of(args.qkv_raw);
  to.q_norm = rows_of(args.q_norm);
  to.k_norm = rows_of(args.k_norm);
  to.rstd = args.q_norm_rstd.template as<float>();
  to.offset = args.offset;
  return to;
}

}  // namespace

std::int64_t scratch_for(const QkNormRopeBackward& args) {
  if (!args.q_norm) return 0;
  return column_sum_parts(args.shape.rows()) * 2 * args.shape.head_dim * size_of(DType::f32);
}

void CudaBackend::do_qk_norm_rope_forward(const QkNormRopeForward& args) {
  QkNormRopeArgs to = unpack(args, args.qkv);
  to.eps = args.eps;
  cuda::qk_norm_rope_forward(to, stream());
  launched(args);
}

void CudaBackend::do_qk_norm_rope_backward(const QkNormRopeBackward& args) {
  QkNormRopeArgs to = unpack(args, args.dqkv);
  to.partial = static_cast<float*>(scratch(args));
  if (args.q_norm) to.dq_norm = args.dq_norm.as<float>(), to.dk_norm = args.dk_norm.as<float>();
  cuda::qk_norm_rope_backward(to, stream());
  launched(args);
}

}  // namespace bittern::cuda
