// qk_norm_rope on plain pointers. The arguments' names and shapes are those of ops.h.
#pragma once

#include <cstdint>

#include "cuda/rows.h"

namespace bittern::cuda {

struct QkNormRopeArgs {
  Rows qkv;             ///< of backward dqkv
  Rows qkv_raw;         ///< none without norms
  Rows q_norm, k_norm;  ///< (D) f32 as one row
  float* rstd;          ///< (N,H+KV)
  Rows rope;            ///< from the first position on
  float* partial;       ///< backward with norms: (column_sum_parts(rows), 2 * head_dim)
  float *dq_norm, *dk_norm;
  std::int64_t rows, sequence_length;
  int heads, kv_heads, head_dim;
  float eps, offset;
};
void qk_norm_rope_forward(const QkNormRopeArgs& args, cudaStream_t stream);
void qk_norm_rope_backward(const QkNormRopeArgs& args, cudaStream_t stream);

}  // namespace bittern::cuda
