// attention: arguments and scratch for the kernels (attention_any.cu); the caches of generation.
#include <cmath>

#include "cuda/attention_any.h"
#include "cuda/backend.h"
#include "cuda/copy.h"
#include "cuda/rows_of.h"

namespace bittern::cuda {
namespace {

/// The columns of q, k and v in packed rows.
struct Packed {
  Rows q, k, v;
};
Packed packed_of(const Tensor& qkv, const AttentionShape& s) {
  const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  return {rows_of(qkv.slice_cols(0, q)), rows_of(qkv.slice_cols(q, kv)), rows_of(qkv.slice_cols(q + kv, kv))};
}

template <class Args>
AttentionArgs unpack(const Args& args) {
  const AttentionShape& s = args.shape;
  const Packed packed = packed_of(args.qkv, s);
  const float scale = args.scores.scale > 0.0f ? args.scores.scale : 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  return {.q = packed.q,
          .k = packed.k,
          .v = packed.v,
          .out = rows_of(args.out),
          .lse = nullptr,
          .scores = {.scale = scale, .softcap = args.scores.softcap, .window = args.scores.window},
          .batch = s.batch,
          .queries = s.sequence_length,
          .keys = s.sequence_length,
          .position = 0,
          .heads = static_cast<int>(s.heads),
          .kv_heads = static_cast<int>(s.kv_heads),
          .head_dim = static_cast<int>(s.head_dim)};
}

void append(const Tensor& cache, const Rows& from, std::int64_t first_row, std::int64_t rows, cudaStream_t stream) {
  const std::int64_t row = row_bytes(cache.dtype, cache.row_stride);
  copy_bytes({static_cast<char*>(cache.data) + first_row * row, row}, {from.data, row_bytes(from.dtype, from.stride)},
             rows, row_bytes(cache.dtype, cache.cols()), stream);
}

}  // namespace

std::int64_t scratch_for(const AttentionBackward& args) {
  return args.shape.rows() * args.shape.heads * size_of(DType::f32);
}

void CudaBackend::do_attention_forward(const AttentionForward& args) {
  AttentionArgs to = unpack(args);
  to.lse = args.lse.as<float>();
  attention_forward_any(to, stream());
  launched(args);
}

void CudaBackend::do_attention_backward(const AttentionBackward& args) {
  const Packed gradient = packed_of(args.dqkv, args.shape);
  AttentionBackwardArgs to{.forward = unpack(args),
                           .dout = rows_of(args.dout),
                           .dq = gradient.q,
                           .dk = gradient.k,
                           .dv = gradient.v,
                           .delta = static_cast<float*>(scratch(args))};
  to.forward.lse = args.lse.as<float>();
  attention_backward_any(to, stream());
  launched(args);
}

void CudaBackend::do_attention_cached(const AttentionCached& args) {
  const std::int64_t rows = args.qkv.rows();
  AttentionArgs to = unpack(args);
  append(args.k_cache, to.k, args.first_position, rows, stream());
  append(args.v_cache, to.v, args.first_position, rows, stream());
  to.k = rows_of(args.k_cache);
  to.v = rows_of(args.v_cache);
  to.batch = 1;
  to.queries = rows;
  to.keys = args.first_position + rows;
  to.position = args.first_position;
  attention_forward_any(to, stream());
  launched(args);
}

}  // namespace bittern::cuda
