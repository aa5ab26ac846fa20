// cross_entropy over a chunk of rows:  lse = log sum exp(logits);  loss = lse - logits[target];  lse_squared = lse^2
//   logits (R,V) f32|bf16   targets (R) i32, -1: row ignored   loss, lse_squared (R) f32   scale (1) f32
//   overwrites loss and lse_squared (0 in ignored rows) and, with backward, logits:
//     dlogits = scale * (softmax * (1 + 2 z_loss lse) - onehot(target)), 0 in ignored rows
//   With a soft cap the logits are x' = cap tanh(x / cap) of what is given, and dlogits is multiplied by dx'/dx.
//   Moves 4 bytes an element in bf16, where the second pass finds the row in the L2 cache; without backward 2.
// A block of up to 1024 threads takes a row: first every thread's largest logit and sum of exponentials as it goes, put
// together in a fixed order; then the gradient. The target's logit is read before the second pass overwrites it.
#include "cuda/cross_entropy.h"

#include <cmath>

#include "cuda/chunk.h"
#include "cuda/fault.h"
#include "cuda/ptx.h"
#include "cuda/reduce.h"

namespace bittern::cuda {
namespace {

constexpr float log2_e = 1.44269504f;

struct Shared {
  OfWarps<float> of_warps;
};

__device__ __forceinline__ float exp_of(float x) {
  return gpu::exp2_approximate(x * log2_e);
}

/// 1 / (1 + exp(-2 x / cap)), of which the capped logit is cap (2 s - 1), and its slope 4 s (1 - s).
__device__ __forceinline__ float half_of_tanh(float x, float cap) {
  return 1.0f / (1.0f + gpu::exp2_approximate(-2.0f * log2_e * (x / cap)));
}

__device__ __forceinline__ float capped(float x, float cap) {
  return cap > 0.0f ? cap * (2.0f * half_of_tanh(x, cap) - 1.0f) : x;
}

__device__ __forceinline__ float slope_of_cap(float x, float cap) {
  if (!(cap > 0.0f)) return 1.0f;
  const float s = half_of_tanh(x, cap);
  return 4.0f * s * (1.0f - s);
}

template <bool vector>
__global__ void __launch_bounds__(1024) cross_entropy_kernel(CrossEntropyArgs a) {
  auto& shared = gpu::shared_memory<Shared>().of_warps;
  const std::int64_t row = blockIdx.x;
  const std::int32_t target = a.targets[row];
  const int first = static_cast<int>(threadIdx.x) * chunk, step = static_cast<int>(blockDim.x) * chunk;
  if (target < 0 || target >= a.cols) {
    if (threadIdx.x == 0) {
      a.loss[row] = a.lse_squared[row] = 0.0f;
      if (target != -1) report_fault(a.record, a.op, row);
    }
    const float zeros[chunk] = {};
    for (int col = first; a.backward && col < a.cols; col += step) store<vector>(a.logits, row, col, a.cols, zeros);
    return;
  }

  float target_logit[chunk];
  load<false>(a.logits, row, target, target + 1, target_logit);
  // Not -inf, so that x - largest is never -inf - -inf: a masked logit gives exp = 0.
  float largest = -3.40282347e38f, sum = 0.0f;
  for (int col = first; col < a.cols; col += step) {
    float x[chunk];
    load<vector>(a.logits, row, col, a.cols, x);
    float top = largest;
#pragma unroll
    for (int i = 0; i < chunk; ++i) x[i] = capped(x[i], a.softcap);
#pragma unroll
    for (int i = 0; i < chunk; ++i) top = col + i < a.cols && x[i] > top ? x[i] : top;
    sum *= exp_of(largest - top);
    largest = top;
#pragma unroll
    for (int i = 0; i < chunk; ++i) sum += col + i < a.cols ? exp_of(x[i] - largest) : 0.0f;
  }
  const float top = block_largest(largest, shared);
  const float total = block_sum(sum * exp_of(largest - top), shared);
  const float lse = top + logf(total);
  if (threadIdx.x == 0) {
    a.loss[row] = lse - capped(target_logit[0], a.softcap);
    a.lse_squared[row] = lse * lse;
  }
  if (!a.backward) return;

  const float scale = *a.scale, factor = scale * (1.0f + 2.0f * a.z_loss * lse) / total;
  for (int col = first; col < a.cols; col += step) {
    float x[chunk];
    load<vector>(a.logits, row, col, a.cols, x);
#pragma unroll
    for (int i = 0; i < chunk; ++i) {
      const float slope = slope_of_cap(x[i], a.softcap);
      float d = exp_of(capped(x[i], a.softcap) - top) * factor;
      if (col + i == target) d -= scale;
      x[i] = d * slope;
    }
    store<vector>(a.logits, row, col, a.cols, x);
  }
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  gpu::launch(vector_rows(a.logits, a.cols) ? cross_entropy_kernel<true> : cross_entropy_kernel<false>,
              {.grid = dim3(static_cast<unsigned>(a.rows)),
               .block = dim3(static_cast<unsigned>(threads_for(a.cols, 1024))),
               .shared_bytes = sizeof(Shared),
               .stream = stream},
              a);
}

}  // namespace bittern::cuda
