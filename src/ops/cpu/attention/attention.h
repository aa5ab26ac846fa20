// attention: how the three operations of ops.h are divided between attention.cpp (parts, threads) and one file
// of kernels per instruction set (attention_avx512.cpp, ...), all of them made from the same templates
// (attention_tiles.h).
//
// Scores are computed transposed: a row of a tile is one key, its vector lanes are queries. So the softmax needs no
// sums across lanes, P^T is already the right operand of the product with V, and keys and values are read as they are,
// one broadcast number at a time. A *panel* is two vectors of queries of one head; a *unit* is a few panels (the heads
// of a group side by side) that go through the keys together, key_tile keys at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "bittern/ops.h"
#include "bittern/tensor.h"
#include "ops/cpu/machine/multiples.h"

namespace bittern::cpu {

void attention_forward(const AttentionForward& args, void* workspace);
void attention_backward(const AttentionBackward& args, void* workspace);
void attention_cached(const AttentionCached& args, void* workspace);

/// Bytes that any of the three needs for such a batch, for the instruction set and the thread count in use.
std::int64_t attention_workspace_bytes(const AttentionShape& shape);

namespace attention {

// 64 keys: a tile of scores and the tile's keys or values fit the first-level cache together. 128 lanes: enough queries
// to make the packing of a tile of keys and values (2 of about 130 passes over it) cheap (tests/bench/attention_bench).
inline constexpr std::int64_t key_tile = 64, unit_lanes = 128;

/// Cuts arrays out of scratch, one after another. Without memory it only counts.
struct Carver {
  std::byte* base = nullptr;
  std::int64_t used = 0;

  float* floats(std::int64_t count) {
    float* at = base == nullptr ? nullptr : reinterpret_cast<float*>(base + used);
    used += round_up(count * std::int64_t{sizeof(float)}, 64);
    return at;
  }
};

/// Vector sizes of a kernel: lanes of one vector, and of a panel.
struct Lanes {
  std::int64_t vector, panel;
};

/// Scratch of one worker in the forward pass. L lanes of a panel, D' = D rounded up to whole vectors.
struct ForwardScratch {
  float *q, *stage, *k, *v, *scores, *out, *max, *sum, *decay;
  ForwardScratch(Carver& carve, Lanes lanes, std::int64_t head_dim, std::int64_t panels) {
    const std::int64_t padded = round_up(head_dim, lanes.vector);
    q = carve.floats(panels * padded * lanes.panel);    // Q^T (panels, D, L)
    stage = carve.floats(lanes.panel * padded);         // (L, D')
    k = carve.floats(key_tile * padded);                // (keys, D')
    v = carve.floats(key_tile * padded);                // (keys, D')
    scores = carve.floats(key_tile * lanes.panel);      // S^T, then P^T (keys, L)
    out = carve.floats(panels * padded * lanes.panel);  // O^T (panels, D', L)
    max = carve.floats(panels * lanes.panel);           // running maximum of the raw scores
    sum = carve.floats(panels * lanes.panel);           // running denominator
    decay = carve.floats(lanes.panel);
  }
};

/// Scratch of one worker in the backward pass.
struct BackwardScratch {
  float *q, *q_rows, *dout, *dout_rows, *dq, *k, *k_columns, *v, *stage, *p, *ds, *ds_columns, *lse, *delta;
  BackwardScratch(Carver& carve, Lanes lanes, std::int64_t head_dim, std::int64_t panels) {
    const std::int64_t padded = round_up(head_dim, lanes.vector), width = panels * lanes.panel;
    q = carve.floats(width * padded);             // Q^T (panels, D, L)
    q_rows = carve.floats(width * padded);        // Q (lanes, D')
    dout = carve.floats(width * padded);          // dO^T
    dout_rows = carve.floats(width * padded);     // dO
    dq = carve.floats(width * padded);            // dQ^T (panels, D', L)
    k = carve.floats(key_tile * padded);          // K (keys, D')
    k_columns = carve.floats(key_tile * padded);  // K as the left operand of dQ^T = K^T dS^T
    v = carve.floats(key_tile * padded);          // V (keys, D')
    // one panel's scores and dP (keys, L), and (L, D') while packing
    stage = carve.floats(std::max(2 * key_tile * lanes.panel, lanes.panel * padded));
    p = carve.floats(key_tile * width);           // P^T (keys, lanes)
    ds = carve.floats(key_tile * width);          // dS^T (keys, lanes)
    ds_columns = carve.floats(key_tile * width);  // dS^T as the right operand of dQ^T
    lse = carve.floats(width);                    // log2 of the denominator
    delta = carve.floats(width);                  // D_i = sum over d of dO O
  }
};

/// AttentionScores of the op list in the kernels' terms. A raw score is q k^T as the product gives it; a cap is applied
/// to raw scores and gives raw scores, so that what follows is the same with and without: capped = cap_out tanh(cap_in raw).
struct ScoreMath {
  float scale;            ///< of raw scores
  float to_exponent;      ///< scale log2(e): weights are powers of two
  float cap_in, cap_out;  ///< scale / softcap, softcap / scale; 0: no cap
  std::int64_t window;    ///< a query sees this many newest keys, its own among them; beyond any position without one

  ScoreMath(const AttentionScores& scores, std::int64_t head_dim);
  /// The first key of the first tile that a query at this position sees any of.
  std::int64_t first_tile(std::int64_t position) const {
    return position < window ? 0 : (position - window + 1) / key_tile * key_tile;
  }
};

/// Query heads of one group and a range of their queries, against the keys that each query sees.
struct ForwardUnit {
  const void *q, *k, *v;  ///< of the first head, row 0 of the sequence
  void* out;
  float* lse;                                                         ///< of the first head; null: not wanted
  std::int64_t q_stride, k_stride, v_stride, out_stride, lse_stride;  ///< elements between rows (lse: between heads)
  std::int64_t head_dim, heads;
  std::int64_t first_row, rows;  ///< the range
  std::int64_t position;         ///< of row 0: row r sees no key after position + r
  ScoreMath math;
};

struct BackwardUnit {
  const void *q, *k, *v, *out, *dout;
  const float* lse;
  void* dq;
  float *dk, *dv;  ///< (T, D') accumulated; dk without the factor `scale`
  std::int64_t qkv_stride, out_stride, dout_stride, dqkv_stride, lse_stride;
  std::int64_t head_dim, heads, first_row, rows;
  ScoreMath math;
};

/// One query row of every head of a group against `keys` keys.
struct DecodeUnit {
  const void *q, *k, *v;
  void* out;
  std::int64_t k_stride, v_stride, head_dim, heads, keys;
  ScoreMath math;
};

inline constexpr std::int64_t decode_tile = 256;
inline constexpr int decode_heads_together = 4;

struct DecodeScratch {
  float *q, *scores, *out, *max, *sum;
  DecodeScratch(Carver& carve, Lanes lanes, std::int64_t head_dim, std::int64_t heads) {
    const std::int64_t padded = round_up(head_dim, lanes.vector);
    q = carve.floats(heads * padded);  // (heads, D') f32
    scores = carve.floats(decode_heads_together * decode_tile);
    out = carve.floats(heads * padded);  // (heads, D')
    max = carve.floats(heads);
    sum = carve.floats(heads);
  }
};

/// The kernels of one instruction set for one element type.
struct Kernels {
  Lanes lanes;
  void (*forward)(const ForwardUnit& unit, const ForwardScratch& scratch);
  void (*backward)(const BackwardUnit& unit, const BackwardScratch& scratch);
  /// to (rows, D) = scale * from (rows, D'): a sum of dk or dv in the type of the tensors
  void (*store_rows)(void* to, std::int64_t stride, const float* from, float scale, std::int64_t rows,
                     std::int64_t head_dim);
  void (*decode)(const DecodeUnit& unit, const DecodeScratch& scratch);
};

Kernels portable_kernels(DType dtype);
#if defined(__x86_64__)
Kernels avx2_kernels(DType dtype);
Kernels avx512_kernels(DType dtype);
Kernels avx512_bf16_kernels(DType dtype);
Kernels amx_bf16_kernels(DType dtype);
#endif

}  // namespace attention
}  // namespace bittern::cpu
