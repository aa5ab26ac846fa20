// attention_any: out = softmax(scores, causal) v and its gradients (ops.h), for every head size up to 256, f32 and bf16, any
// scale, soft cap and window. It is the path that is always there: what faster paths do not take, and what their tests
// compare with.
//   forward  overwrites out, lse: a warp a query. Its keys come 32 at a time, a lane each, for the scores (Milakov &
//            Gimelshein 2018: the softmax in one pass); then a lane has every 32nd column of the sum over v.
//   backward overwrites dq, dk, dv. Two kernels, no atomics: a warp a query makes dq and delta = sum over d of dout out; a
//            warp a key goes through the queries that see it, head after head of its group, and makes dk and dv. So every
//            sum has one order.
// All arithmetic is fp32. Bound by fused multiply-adds, and by reading k and v once for each query.
#include "cuda/attention_any.h"

#include <cmath>

#include "bittern/quant/bf16.h"
#include "cuda/gpu.h"
#include "cuda/ptx.h"
#include "cuda/reduce.h"

namespace bittern::cuda {
namespace {

constexpr int warps = 4, lanes = 32, most_columns = 8;  // of a lane: heads of up to 256
constexpr float log2_e = 1.44269504f;

/// Of a warp: what its lanes hand to each other.
struct Lanes {
  float first[lanes], second[lanes];
};
struct Shared {
  Lanes of[warps];
};

__device__ __forceinline__ float read(const float* x) {
  return *x;
}
__device__ __forceinline__ float read(const bf16* x) {
  return to_float(*x);
}
__device__ __forceinline__ void write(float* to, float x) {
  *to = x;
}
__device__ __forceinline__ void write(bf16* to, float x) {
  *to = to_bf16(x);
}

template <class T>
__device__ __forceinline__ T* at(const Rows& x, std::int64_t row, std::int64_t col) {
  return static_cast<T*>(x.data) + row * x.stride + col;
}

template <class T>
__device__ __forceinline__ float dot(const T* a, const T* b, int count) {
  float sum[4] = {};  // four sums err by half of what one would
  int d = 0;
  for (; d + 4 <= count; d += 4)
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] = fmaf(read(a + d + i), read(b + d + i), sum[i]);
  for (; d < count; ++d) sum[0] = fmaf(read(a + d), read(b + d), sum[0]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

__device__ __forceinline__ float exp_of(float x) {
  return gpu::exp2_approximate(x * log2_e);
}

/// A score and its slope, d score / d (scale q k), from the product q k.
struct Score {
  float value, slope;
};
__device__ __forceinline__ Score score_of(float product, const ScoreArgs& how) {
  const float plain = product * how.scale;
  if (how.softcap == 0.0f) return {plain, 1.0f};
  const float t = 1.0f - 2.0f / (1.0f + exp_of(2.0f * (plain / how.softcap)));  // tanh
  return {how.softcap * t, 1.0f - t * t};
}

/// The first key that a query at this position sees.
__device__ __forceinline__ std::int64_t first_key(std::int64_t position, const ScoreArgs& how) {
  return how.window == 0 || position < how.window ? 0 : position - how.window + 1;
}

/// sum[c] += weight[j] * x[first + j][lane + 32 c] for j from `from` to `end`, in order.
template <class T>
__device__ __forceinline__ void add_rows(float (&sum)[most_columns], const float* weight, const Rows& x,
                                         std::int64_t first, std::int64_t col, int from, int end, int head_dim) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  for (int j = from; j < end; ++j) {
    const T* const row = at<T>(x, first + j, col);
#pragma unroll
    for (int c = 0; c < most_columns; ++c) {
      const int d = lane + lanes * c;
      if (d < head_dim) sum[c] = fmaf(weight[j], read(row + d), sum[c]);
    }
  }
}

template <class T>
__device__ __forceinline__ void store_columns(const Rows& x, std::int64_t row, std::int64_t col,
                                              const float (&sum)[most_columns], float factor, int head_dim) {
  T* const to = at<T>(x, row, col);
#pragma unroll
  for (int c = 0; c < most_columns; ++c) {
    const int d = static_cast<int>(threadIdx.x) % lanes + lanes * c;
    if (d < head_dim) write(to + d, sum[c] * factor);
  }
}

/// Which query of which sequence and head a warp has. All lanes of a warp have the same.
struct Query {
  std::int64_t sequence, index;
  int head, kv;
  bool there;
};
__device__ __forceinline__ Query query_of(const AttentionArgs& a) {
  const std::int64_t blocks = (a.queries + warps - 1) / warps, which = blockIdx.x / blocks;
  const int head = static_cast<int>(which % a.heads);
  const std::int64_t index = blockIdx.x % blocks * warps + threadIdx.x / lanes;
  return {which / a.heads, index, head, head / (a.heads / a.kv_heads), index < a.queries};
}

template <class T>
__global__ void __launch_bounds__(warps* lanes) forward_kernel(AttentionArgs a) {
  Lanes& shared = gpu::shared_memory<Shared>().of[threadIdx.x / lanes];
  const Query query = query_of(a);
  if (!query.there) return;
  const int lane = static_cast<int>(threadIdx.x) % lanes, D = a.head_dim;
  const std::int64_t position = a.position + query.index, begin = first_key(position, a.scores);
  const std::int64_t query_row = query.sequence * a.queries + query.index, first_row = query.sequence * a.keys;
  const std::int64_t q_col = static_cast<std::int64_t>(query.head) * D,
                     kv_col = static_cast<std::int64_t>(query.kv) * D;
  const T* const q = at<T>(a.q, query_row, q_col);
  float largest = -INFINITY, total = 0.0f, sum[most_columns] = {};
  for (std::int64_t k0 = begin; k0 <= position; k0 += lanes) {
    const std::int64_t key = k0 + lane;
    const bool seen = key <= position;
    const float score = seen ? score_of(dot(q, at<T>(a.k, first_row + key, kv_col), D), a.scores).value : -INFINITY;
    const float top = larger(warp_largest(score), largest), decay = exp_of(largest - top);
    const float weight = seen ? exp_of(score - top) : 0.0f;
    total = total * decay + warp_sum(weight);
    largest = top;
#pragma unroll
    for (float& x : sum) x *= decay;
    shared.first[lane] = weight;
    __syncwarp();
    const int count = position - k0 + 1 < lanes ? static_cast<int>(position - k0 + 1) : lanes;
    add_rows<T>(sum, shared.first, a.v, first_row + k0, kv_col, 0, count, D);
    __syncwarp();
  }
  store_columns<T>(a.out, query_row, q_col, sum, 1.0f / total, D);
  if (a.lse != nullptr && lane == 0)
    a.lse[(query.sequence * a.heads + query.head) * a.queries + query.index] = largest + logf(total);
}

/// The weight of a key, and the gradient of the product q k.
struct Gradient {
  float weight, of_product;
};
template <class T>
__device__ __forceinline__ Gradient gradient_of(const T* q, const T* k, const T* v, const T* dout, float lse,
                                                float delta, const AttentionArgs& a) {
  const Score score = score_of(dot(q, k, a.head_dim), a.scores);
  const float weight = exp_of(score.value - lse);
  return {weight, weight * (dot(dout, v, a.head_dim) - delta) * score.slope * a.scores.scale};
}

template <class T>
__global__ void __launch_bounds__(warps* lanes) query_gradient_kernel(AttentionBackwardArgs b) {
  Lanes& shared = gpu::shared_memory<Shared>().of[threadIdx.x / lanes];
  const AttentionArgs& a = b.forward;
  const Query query = query_of(a);
  if (!query.there) return;
  const int lane = static_cast<int>(threadIdx.x) % lanes, D = a.head_dim;
  const std::int64_t first_row = query.sequence * a.keys, row = first_row + query.index;
  const std::int64_t q_col = static_cast<std::int64_t>(query.head) * D,
                     kv_col = static_cast<std::int64_t>(query.kv) * D;
  const std::int64_t number = (query.sequence * a.heads + query.head) * a.queries + query.index;
  const T *const q = at<T>(a.q, row, q_col), *const dout = at<T>(b.dout, row, q_col);
  float own = 0.0f;
  for (int d = lane; d < D; d += lanes) own = fmaf(read(dout + d), read(at<T>(a.out, row, q_col) + d), own);
  const float delta = warp_sum(own), lse = a.lse[number];
  if (lane == 0) b.delta[number] = delta;
  float sum[most_columns] = {};
  for (std::int64_t k0 = first_key(query.index, a.scores); k0 <= query.index; k0 += lanes) {
    const std::int64_t key = k0 + lane;
    shared.first[lane] = key <= query.index ? gradient_of(q, at<T>(a.k, first_row + key, kv_col),
                                                          at<T>(a.v, first_row + key, kv_col), dout, lse, delta, a)
                                                  .of_product
                                            : 0.0f;
    __syncwarp();
    const int count = query.index - k0 + 1 < lanes ? static_cast<int>(query.index - k0 + 1) : lanes;
    add_rows<T>(sum, shared.first, a.k, first_row + k0, kv_col, 0, count, D);
    __syncwarp();
  }
  store_columns<T>(b.dq, row, q_col, sum, 1.0f, D);
}

template <class T>
__global__ void __launch_bounds__(warps* lanes) key_gradient_kernel(AttentionBackwardArgs b) {
  Lanes& shared = gpu::shared_memory<Shared>().of[threadIdx.x / lanes];
  const AttentionArgs& a = b.forward;
  const std::int64_t T_ = a.keys, blocks = (T_ + warps - 1) / warps, which = blockIdx.x / blocks;
  const std::int64_t sequence = which / a.kv_heads, key = blockIdx.x % blocks * warps + threadIdx.x / lanes;
  if (key >= T_) return;
  const int lane = static_cast<int>(threadIdx.x) % lanes, D = a.head_dim, group = a.heads / a.kv_heads;
  const int kv = static_cast<int>(which % a.kv_heads);
  const std::int64_t first_row = sequence * T_, kv_col = static_cast<std::int64_t>(kv) * D;
  const T *const k = at<T>(a.k, first_row + key, kv_col), *const v = at<T>(a.v, first_row + key, kv_col);
  const std::int64_t end = a.scores.window == 0 || key + a.scores.window > T_ ? T_ : key + a.scores.window;
  float dk[most_columns] = {}, dv[most_columns] = {};
  for (int head = kv * group; head < (kv + 1) * group; ++head) {
    const std::int64_t q_col = static_cast<std::int64_t>(head) * D;
    const std::int64_t numbers = (sequence * a.heads + head) * a.queries;
    for (std::int64_t i0 = key; i0 < end; i0 += lanes) {
      const std::int64_t i = i0 + lane;
      Gradient gradient{};
      if (i < end)
        gradient = gradient_of(at<T>(a.q, first_row + i, q_col), k, v, at<T>(b.dout, first_row + i, q_col),
                               a.lse[numbers + i], b.delta[numbers + i], a);
      shared.first[lane] = gradient.weight;
      shared.second[lane] = gradient.of_product;
      __syncwarp();
      const int count = end - i0 < lanes ? static_cast<int>(end - i0) : lanes;
      add_rows<T>(dv, shared.first, b.dout, first_row + i0, q_col, 0, count, D);
      add_rows<T>(dk, shared.second, a.q, first_row + i0, q_col, 0, count, D);
      __syncwarp();
    }
  }
  store_columns<T>(b.dk, first_row + key, kv_col, dk, 1.0f, D);
  store_columns<T>(b.dv, first_row + key, kv_col, dv, 1.0f, D);
}

/// A warp for each of `rows` of every head of every sequence.
gpu::LaunchConfig grid_of(std::int64_t batch, int heads, std::int64_t rows, cudaStream_t stream) {
  return {.grid = dim3(static_cast<unsigned>(batch * heads * ((rows + warps - 1) / warps))),
          .block = dim3(warps * lanes),
          .shared_bytes = sizeof(Shared),
          .stream = stream};
}

}  // namespace

void attention_forward_any(const AttentionArgs& a, cudaStream_t stream) {
  gpu::launch(a.q.dtype == DType::f32 ? forward_kernel<float> : forward_kernel<bf16>,
              grid_of(a.batch, a.heads, a.queries, stream), a);
}

void attention_backward_any(const AttentionBackwardArgs& b, cudaStream_t stream) {
  const AttentionArgs& a = b.forward;
  const bool f32 = a.q.dtype == DType::f32;
  gpu::launch(f32 ? query_gradient_kernel<float> : query_gradient_kernel<bf16>,
              grid_of(a.batch, a.heads, a.queries, stream), b);
  gpu::launch(f32 ? key_gradient_kernel<float> : key_gradient_kernel<bf16>,
              grid_of(a.batch, a.kv_heads, a.keys, stream), b);
}

}  // namespace bittern::cuda
