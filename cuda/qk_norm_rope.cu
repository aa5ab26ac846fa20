// qk_norm_rope: each head of q and k is (if asked) normalised by RMS over its D elements and scaled, then rotated by
// position (rotary embedding: Su et al. 2021, in the halves form of Hugging Face's LLaMA):
//   v = x * rstd * (offset + w), rstd = 1 / sqrt(mean(x^2) + eps)     (a, b) -> (a cos - b sin, b cos + a sin), a, b v's halves
//   qkv (N,packed) f32|bf16, rows [q (H*D) | k (KV*D) | v]   rope (T_max,D) f32   row n has position first + n % T
//   forward  without norm: in place, q and k. With norm: reads qkv_raw, overwrites qkv (v is copied) and rstd (N,H+KV).
//   backward overwrites dq and dk in dqkv; accumulates dq_norm, dk_norm (D).
//   Moves 4 bytes an element of q and k in bf16, with norm of v too, backward with norm 6: memory-bound.
// A group of lanes takes a head of a row: lane k holds eight elements of the first half, and the eight of the second that
// they are rotated with. Groups are powers of two, so that a norm's sum is a butterfly within one.
#include "cuda/qk_norm_rope.h"

#include <cmath>

#include "bittern/row_parts.h"
#include "cuda/chunk.h"
#include "cuda/column_sums.h"
#include "cuda/reduce.h"

namespace bittern::cuda {
namespace {

constexpr int threads = 256;

/// Lanes of a group: a chunk of half a head each, where 32 suffice.
int group_of(int head_dim) {
  const int chunks = (head_dim / 2 + chunk - 1) / chunk;
  int lanes = 1;
  while (lanes < chunks && lanes < 32) lanes *= 2;
  return lanes;
}

__device__ __forceinline__ float group_sum(float x, int lanes) {
  for (int bit = lanes / 2; bit > 0; bit /= 2) x += __shfl_xor_sync(all_lanes, x, bit);
  return x;
}

/// Both halves' chunks at i of the head that begins at col.
template <bool vector>
__device__ __forceinline__ void load_pair(const Rows& x, std::int64_t row, int col, int half, int i, float (&a)[chunk],
                                          float (&b)[chunk]) {
  load<vector>(x, row, col + i, col + half, a);
  load<vector>(x, row, col + half + i, col + 2 * half, b);
}
template <bool vector>
__device__ __forceinline__ void store_pair(const Rows& x, std::int64_t row, int col, int half, int i,
                                           const float (&a)[chunk], const float (&b)[chunk]) {
  store<vector>(x, row, col + i, col + half, a);
  store<vector>(x, row, col + half + i, col + 2 * half, b);
}

/// direction 1, or -1: the transpose, which is the inverse.
template <bool vector>
__device__ __forceinline__ void rotate(const QkNormRopeArgs& args, std::int64_t position, int i, float direction,
                                       float (&a)[chunk], float (&b)[chunk]) {
  float cosine[chunk], sine[chunk];
  load_pair<vector>(args.rope, position, 0, args.head_dim / 2, i, cosine, sine);
#pragma unroll
  for (int k = 0; k < chunk; ++k) {
    const float first = a[k], second = b[k], s = direction * sine[k];
    a[k] = first * cosine[k] - second * s;
    b[k] = second * cosine[k] + first * s;
  }
}

/// Without norms: q and k are turned where they are.
template <bool vector>
__global__ void __launch_bounds__(threads) rotate_kernel(QkNormRopeArgs args, int lanes, float direction) {
  const std::int64_t item = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) / lanes;
  const int turned = args.heads + args.kv_heads, half = args.head_dim / 2;
  const std::int64_t row = item / turned;
  if (row >= args.rows) return;
  const int col = static_cast<int>(item % turned) * args.head_dim;
  for (int i = static_cast<int>(threadIdx.x) % lanes * chunk; i < half; i += lanes * chunk) {
    float a[chunk], b[chunk];
    load_pair<vector>(args.qkv, row, col, half, i, a, b);
    rotate<vector>(args, row % args.sequence_length, i, direction, a, b);
    store_pair<vector>(args.qkv, row, col, half, i, a, b);
  }
}

template <bool vector>
__global__ void __launch_bounds__(threads) norm_forward_kernel(QkNormRopeArgs args, int lanes) {
  const std::int64_t item = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) / lanes;
  const int turned = args.heads + args.kv_heads, half = args.head_dim / 2,
            begin = static_cast<int>(threadIdx.x) % lanes * chunk;
  const std::int64_t row = item / (turned + args.kv_heads);
  const int head = static_cast<int>(item % (turned + args.kv_heads)), col = head * args.head_dim;
  const bool here = row < args.rows;  // all lanes of a warp take part in its sums
  float squares = 0.0f;
  for (int i = begin; here && head < turned && i < half; i += lanes * chunk) {
    float a[chunk], b[chunk];
    load_pair<vector>(args.qkv_raw, row, col, half, i, a, b);
#pragma unroll
    for (int k = 0; k < chunk; ++k) squares += a[k] * a[k] + b[k] * b[k];
  }
  const float rstd = 1.0f / sqrtf(group_sum(squares, lanes) / static_cast<float>(args.head_dim) + args.eps);
  if (!here) return;
  if (head < turned && begin == 0) args.rstd[row * turned + head] = rstd;
  const Rows& w = head < args.heads ? args.q_norm : args.k_norm;
  for (int i = begin; i < half; i += lanes * chunk) {
    float a[chunk], b[chunk];
    load_pair<vector>(args.qkv_raw, row, col, half, i, a, b);
    if (head < turned) {
      float wa[chunk], wb[chunk];
      load_pair<vector>(w, 0, 0, half, i, wa, wb);
#pragma unroll
      for (int k = 0; k < chunk; ++k) {
        a[k] = a[k] * rstd * (args.offset + wa[k]);
        b[k] = b[k] * rstd * (args.offset + wb[k]);
      }
      rotate<vector>(args, row % args.sequence_length, i, 1.0f, a, b);
    }
    store_pair<vector>(args.qkv, row, col, half, i, a, b);
  }
}

/// A block takes a part of rows; each of its groups every so-many-th head of them. A group's sums for dq_norm and dk_norm
/// are a row of shared memory, in which each lane owns its elements; at the end the groups are added in order.
template <bool vector>
__global__ void __launch_bounds__(threads) norm_backward_kernel(QkNormRopeArgs args, int lanes) {
  float* const sums = &gpu::shared_memory<float>();  // (groups, 2 * head_dim)
  const int groups = threads / lanes, group = static_cast<int>(threadIdx.x) / lanes;
  const int turned = args.heads + args.kv_heads, D = args.head_dim, half = D / 2;
  const int begin = static_cast<int>(threadIdx.x) % lanes * chunk;
  const std::int64_t parts = gridDim.x, first_row = part_begin(args.rows, parts, blockIdx.x),
                     last_row = part_begin(args.rows, parts, static_cast<std::int64_t>(blockIdx.x) + 1);
  float* const own = sums + group * 2 * D;
  for (int i = begin; i < half; i += lanes * chunk)
    for (int k = i; k < i + chunk && k < half; ++k) own[k] = own[half + k] = own[D + k] = own[D + half + k] = 0.0f;

  const std::int64_t items = (last_row - first_row) * turned;
  for (std::int64_t round = 0; round < items; round += groups) {  // the same number for all lanes of a warp
    const std::int64_t item = round + group, row = first_row + item / turned;
    const int head = static_cast<int>(item % turned), col = head * D;
    const bool here = item < items, is_q = head < args.heads;
    const float rstd = here ? args.rstd[row * turned + head] : 0.0f;
    const Rows& w = is_q ? args.q_norm : args.k_norm;
    float* const dw = own + (is_q ? 0 : D);
    float dot = 0.0f;
    const auto load_all = [&](int i, float(&da)[chunk], float(&db)[chunk], float(&a)[chunk], float(&b)[chunk],
                              float(&wa)[chunk], float(&wb)[chunk]) {
      load_pair<vector>(args.qkv, row, col, half, i, da, db);
      rotate<vector>(args, row % args.sequence_length, i, -1.0f, da, db);
      load_pair<vector>(args.qkv_raw, row, col, half, i, a, b);
      load_pair<vector>(w, 0, 0, half, i, wa, wb);
#pragma unroll
      for (int k = 0; k < chunk; ++k) wa[k] = args.offset + wa[k], wb[k] = args.offset + wb[k];
    };
    for (int i = begin; here && i < half; i += lanes * chunk) {
      float da[chunk], db[chunk], a[chunk], b[chunk], wa[chunk], wb[chunk];
      load_all(i, da, db, a, b, wa, wb);
#pragma unroll
      for (int k = 0; k < chunk; ++k) {
        if (i + k >= half) continue;
        const float ga = da[k] * (a[k] * rstd), gb = db[k] * (b[k] * rstd);
        dw[i + k] += ga;
        dw[half + i + k] += gb;
        dot += ga * wa[k] + gb * wb[k];
      }
    }
    const float mean = group_sum(dot, lanes) / static_cast<float>(D);
    for (int i = begin; here && i < half; i += lanes * chunk) {
      float da[chunk], db[chunk], a[chunk], b[chunk], wa[chunk], wb[chunk];
      load_all(i, da, db, a, b, wa, wb);
#pragma unroll
      for (int k = 0; k < chunk; ++k) {
        da[k] = rstd * (da[k] * wa[k] - a[k] * rstd * mean);
        db[k] = rstd * (db[k] * wb[k] - b[k] * rstd * mean);
      }
      store_pair<vector>(args.qkv, row, col, half, i, da, db);
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < 2 * D; i += threads) {
    float sum = 0.0f;
    for (int g = 0; g < groups; ++g) sum += sums[g * 2 * D + i];
    args.partial[static_cast<std::int64_t>(blockIdx.x) * 2 * D + i] = sum;
  }
}

bool vectors(const QkNormRopeArgs& a) {
  const int half = a.head_dim / 2;
  return vector_rows(a.qkv, half) && vector_rows(a.qkv_raw, half) && vector_rows(a.q_norm, half) &&
         vector_rows(a.k_norm, half) && vector_rows(a.rope, half);
}

/// Each of `items` has a group of lanes.
gpu::LaunchConfig grid_of(std::int64_t items, int lanes, cudaStream_t stream) {
  return {.grid = dim3(blocks_for(items * lanes, threads)), .block = dim3(threads), .stream = stream};
}

}  // namespace

void qk_norm_rope_forward(const QkNormRopeArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  const int lanes = group_of(a.head_dim);
  if (a.q_norm.data == nullptr)
    return gpu::launch(vectors(a) ? rotate_kernel<true> : rotate_kernel<false>,
                       grid_of(a.rows * (a.heads + a.kv_heads), lanes, stream), a, lanes, 1.0f);
  gpu::launch(vectors(a) ? norm_forward_kernel<true> : norm_forward_kernel<false>,
              grid_of(a.rows * (a.heads + 2 * a.kv_heads), lanes, stream), a, lanes);
}

void qk_norm_rope_backward(const QkNormRopeArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  const int lanes = group_of(a.head_dim), D = a.head_dim;
  if (a.q_norm.data == nullptr)
    return gpu::launch(vectors(a) ? rotate_kernel<true> : rotate_kernel<false>,
                       grid_of(a.rows * (a.heads + a.kv_heads), lanes, stream), a, lanes, -1.0f);
  const std::int64_t parts = column_sum_parts(a.rows);
  gpu::launch(
      vectors(a) ? norm_backward_kernel<true> : norm_backward_kernel<false>,
      {.grid = dim3(static_cast<unsigned>(parts)),
       .block = dim3(threads),
       .shared_bytes = static_cast<std::size_t>(threads / lanes) * 2 * static_cast<std::size_t>(D) * sizeof(float),
       .stream = stream},
      a, lanes);
  add_parts(a.dq_norm, a.partial, parts, 2 * D, D, stream);
  add_parts(a.dk_norm, a.partial + D, parts, 2 * D, D, stream);
}

}  // namespace bittern::cuda
