// residual_rmsnorm: sum = x + y;  n = sum / sqrt(mean(sum^2) + eps) * (offset + w)       (Zhang & Sennrich 2019, eq. 4)
//   x, y, sum (N,C) f32|bf16   n (N,C) f32|bf16, or codes with a scale per row   w (C) f32   rstd (N) f32
//   forward  overwrites sum, n, rstd. The norm is of the sum as it was stored.
//            Moves 8 bytes an element in bf16 (x, y, sum, n), with codes 7: memory-bound.
//   backward with xhat = sum rstd, f = offset + w:
//            dx += rstd (dn f - xhat mean(dn f xhat))   dw += sum over rows of dn xhat
//            accumulates dx (with `overwrite` it is as if it had been 0) and dw. Moves 8 bytes an element in bf16, and 8 for each part of rows and column.
// A block takes a row (forward) or a part of rows (backward). A thread's chunks of a row stay in registers; of longer
// rows than that the rest is read again.
#include "cuda/residual_rmsnorm.h"

#include <cmath>

#include "bittern/row_parts.h"
#include "cuda/chunk.h"
#include "cuda/column_sums.h"
#include "cuda/reduce.h"

namespace bittern::cuda {
namespace {

struct Shared {
  OfWarps<float> sum;
  OfWarps<std::uint32_t> largest;
};

/// The sum's chunk as it is stored.
template <bool vector>
__device__ __forceinline__ void load_sum(const RmsnormForwardArgs& a, std::int64_t row, int col, float (&v)[chunk]) {
  load<vector>(a.x, row, col, a.cols, v);
  if (a.y.data != nullptr) {
    float second[chunk];
    load<vector>(a.y, row, col, a.cols, second);
#pragma unroll
    for (int i = 0; i < chunk; ++i) v[i] += second[i];
  }
  if (a.keep && a.sum.dtype == DType::bf16) {
#pragma unroll
    for (int i = 0; i < chunk; ++i) v[i] = to_float(to_bf16(v[i]));
  }
}

__device__ __forceinline__ float squares_of(const float (&v)[chunk]) {
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < chunk; ++i) sum += v[i] * v[i];
  return sum;
}

/// v becomes n; returns the largest magnitude of it and of `largest`.
template <bool vector>
__device__ __forceinline__ std::uint32_t normalize(const RmsnormForwardArgs& a, int col, float rstd, float (&v)[chunk],
                                                   std::uint32_t largest) {
  float w[chunk];
  load<vector>(a.w, 0, col, a.cols, w);
#pragma unroll
  for (int i = 0; i < chunk; ++i) {
    v[i] = v[i] * rstd * (a.offset + w[i]);
    const std::uint32_t bits = col + i < a.cols ? magnitude_bits(v[i]) : 0u;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

template <int held, bool vector>
__global__ void __launch_bounds__(512) forward_kernel(RmsnormForwardArgs a) {
  auto& shared = gpu::shared_memory<Shared>();
  const std::int64_t row = blockIdx.x;
  const int step = static_cast<int>(blockDim.x) * chunk, first = static_cast<int>(threadIdx.x) * chunk;
  const bool codes = is_code(a.n.dtype);
  float value[held][chunk];
  float squares = 0.0f;
#pragma unroll
  for (int k = 0; k < held; ++k) {
    const int col = first + k * step;
    if (col >= a.cols) continue;
    load_sum<vector>(a, row, col, value[k]);
    if (a.keep) store<vector>(a.sum, row, col, a.cols, value[k]);
    squares += squares_of(value[k]);
  }
  for (int col = first + held * step; col < a.cols; col += step) {
    float v[chunk];
    load_sum<vector>(a, row, col, v);
    squares += squares_of(v);
  }
  const float rstd = 1.0f / sqrtf(block_sum(squares, shared.sum) / static_cast<float>(a.cols) + a.eps);
  if (threadIdx.x == 0) a.rstd[row] = rstd;

  std::uint32_t largest = 0;
#pragma unroll
  for (int k = 0; k < held; ++k) {
    const int col = first + k * step;
    if (col >= a.cols) continue;
    largest = normalize<vector>(a, col, rstd, value[k], largest);
    if (!codes) store<vector>(a.n, row, col, a.cols, value[k]);
  }
  // Of what was not held, the sum is stored last: it may be x's memory.
  for (int col = first + held * step; col < a.cols; col += step) {
    float v[chunk];
    load_sum<vector>(a, row, col, v);
    if (!codes && a.keep) store<vector>(a.sum, row, col, a.cols, v);
    largest = normalize<vector>(a, col, rstd, v, largest);
    if (!codes) store<vector>(a.n, row, col, a.cols, v);
  }
  if (!codes) return;

  const float scale = scale_of_codes(a.n.dtype, block_largest(largest, shared.largest));
  if (threadIdx.x == 0) a.n.scales[row] = scale;
#pragma unroll
  for (int k = 0; k < held; ++k) {
    const int col = first + k * step;
    if (col < a.cols) store_quantized<vector>(a.n, row, col, a.cols, value[k], scale);
  }
  for (int col = first + held * step; col < a.cols; col += step) {
    float v[chunk];
    load_sum<vector>(a, row, col, v);
    if (a.keep) store<vector>(a.sum, row, col, a.cols, v);
    normalize<vector>(a, col, rstd, v, 0);
    store_quantized<vector>(a.n, row, col, a.cols, v, scale);
  }
}

/// What a chunk adds to dw, and to the row's dot product.
template <bool vector>
__device__ __forceinline__ float products(const RmsnormBackwardArgs& a, std::int64_t row, int col, float rstd,
                                          float (&dw)[chunk]) {
  float g[chunk], s[chunk], w[chunk];
  load<vector>(a.dn, row, col, a.cols, g);
  load<vector>(a.sum, row, col, a.cols, s);
  load<vector>(a.w, 0, col, a.cols, w);
  float dot = 0.0f;
#pragma unroll
  for (int i = 0; i < chunk; ++i) {
    const float d = g[i] * (s[i] * rstd);
    dw[i] += d;
    dot += d * (a.offset + w[i]);
  }
  return dot;
}

template <bool vector>
__device__ __forceinline__ void add_gradient(const RmsnormBackwardArgs& a, std::int64_t row, int col, float rstd,
                                             float mean) {
  float g[chunk], s[chunk], w[chunk], d[chunk] = {};
  load<vector>(a.dn, row, col, a.cols, g);
  load<vector>(a.sum, row, col, a.cols, s);
  load<vector>(a.w, 0, col, a.cols, w);
  if (!a.overwrite) load<vector>(a.dx, row, col, a.cols, d);
#pragma unroll
  for (int i = 0; i < chunk; ++i) d[i] += rstd * (g[i] * (a.offset + w[i]) - s[i] * rstd * mean);
  store<vector>(a.dx, row, col, a.cols, d);
}

template <int held, bool vector>
__global__ void __launch_bounds__(256) backward_kernel(RmsnormBackwardArgs a) {
  auto& shared = gpu::shared_memory<Shared>();
  const std::int64_t parts = gridDim.x, begin = part_begin(a.rows, parts, blockIdx.x),
                     end = part_begin(a.rows, parts, static_cast<std::int64_t>(blockIdx.x) + 1);
  const int step = static_cast<int>(blockDim.x) * chunk, first = static_cast<int>(threadIdx.x) * chunk;
  float* const partial = a.partial + static_cast<std::int64_t>(blockIdx.x) * a.cols;
  float dw[held][chunk] = {};
  // What is not held in registers is added up in memory, by the same thread in the same order.
  for (int col = first + held * step; col < a.cols; col += step)
    for (int i = 0; i < chunk && col + i < a.cols; ++i) partial[col + i] = 0.0f;
  for (std::int64_t row = begin; row < end; ++row) {
    const float rstd = a.rstd[row];
    float dot = 0.0f;
#pragma unroll
    for (int k = 0; k < held; ++k)
      if (first + k * step < a.cols) dot += products<vector>(a, row, first + k * step, rstd, dw[k]);
    for (int col = first + held * step; col < a.cols; col += step) {
      float sums[chunk];
      load_f32<false>(partial + col, a.cols - col, sums);
      dot += products<vector>(a, row, col, rstd, sums);
      store_f32<false>(partial + col, a.cols - col, sums);
    }
    const float mean = block_sum(dot, shared.sum) / static_cast<float>(a.cols);
#pragma unroll
    for (int k = 0; k < held; ++k)
      if (first + k * step < a.cols) add_gradient<vector>(a, row, first + k * step, rstd, mean);
    for (int col = first + held * step; col < a.cols; col += step) add_gradient<vector>(a, row, col, rstd, mean);
  }
#pragma unroll
  for (int k = 0; k < held; ++k) {
    const int col = first + k * step;
    if (col < a.cols) store_f32<false>(partial + col, a.cols - col, dw[k]);
  }
}

}  // namespace

void residual_rmsnorm_forward(const RmsnormForwardArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  const bool vector = vector_rows(a.sum, a.cols) && vector_rows(a.n, a.cols) && vector_rows(a.x, a.cols) &&
                      vector_rows(a.y, a.cols) && vector_rows(a.w, a.cols);
  const int threads = threads_for(a.cols, a.cols > 4096 ? 512 : 256);
  const bool one = a.cols <= threads * chunk;
  gpu::launch(vector ? (one ? forward_kernel<1, true> : forward_kernel<2, true>)
                     : (one ? forward_kernel<1, false> : forward_kernel<2, false>),
              {.grid = dim3(static_cast<unsigned>(a.rows)),
               .block = dim3(static_cast<unsigned>(threads)),
               .shared_bytes = sizeof(Shared),
               .stream = stream},
              a);
}

void residual_rmsnorm_backward(const RmsnormBackwardArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  const bool vector =
      vector_rows(a.dx, a.cols) && vector_rows(a.dn, a.cols) && vector_rows(a.sum, a.cols) && vector_rows(a.w, a.cols);
  const int threads = threads_for(a.cols), chunks = (a.cols + threads * chunk - 1) / (threads * chunk);
  const std::int64_t parts = column_sum_parts(a.rows);
  const auto kernel = vector ? (chunks == 1   ? backward_kernel<1, true>
                                : chunks == 2 ? backward_kernel<2, true>
                                              : backward_kernel<4, true>)
                             : (chunks == 1   ? backward_kernel<1, false>
                                : chunks == 2 ? backward_kernel<2, false>
                                              : backward_kernel<4, false>);
  gpu::launch(kernel,
              {.grid = dim3(static_cast<unsigned>(parts)),
               .block = dim3(static_cast<unsigned>(threads)),
               .shared_bytes = sizeof(Shared),
               .stream = stream},
              a);
  add_parts(a.dw, a.partial, parts, a.cols, a.cols, stream);
}

}  // namespace bittern::cuda
