// attention_any on plain pointers: attention of any head size and element type, with any scores.
#pragma once

#include <cstdint>

#include "cuda/rows.h"

namespace bittern::cuda {

/// AttentionScores (ops.h), completed.
struct ScoreArgs {
  float scale, softcap;  ///< softcap 0: none
  std::int64_t window;   ///< 0: all
};

struct AttentionArgs {
  Rows q, k, v;  ///< from the first query's, key's and value's column on; a row is a position, a batch is rows / T
  Rows out;      ///< (N,H*D)
  float* lse;    ///< (B,H,T), or null: not wanted
  ScoreArgs scores;
  std::int64_t batch, queries;    ///< B, and queries of a sequence
  std::int64_t keys;              ///< rows of k and v of a sequence
  std::int64_t position;          ///< of a sequence's first query: query i sees no key after position + i
  int heads, kv_heads, head_dim;  ///< H, KV, D
};
void attention_forward_any(const AttentionArgs& args, cudaStream_t stream);

struct AttentionBackwardArgs {
  AttentionArgs forward;  ///< out and lse as forward left them; position 0, as many keys as queries
  Rows dout;              ///< (N,H*D)
  Rows dq, dk, dv;        ///< as q, k, v
  float* delta;           ///< (B,H,T) scratch: the sums over d of dout out
};
void attention_backward_any(const AttentionBackwardArgs& args, cudaStream_t stream);

}  // namespace bittern::cuda
