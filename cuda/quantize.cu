// quantize: activations as codes, row by row: code = nearest(x / scale), the scale from the row's largest magnitude.
//   x (N,C) f32|bf16   q (N,C) fp8_e4m3: scale = absmax / 448, 1 where absmax is 0
//                              i8:       scale = max(absmax, 1e-5) / 127
//   overwrites q and its scales: the CPU's bits. Moves 3 bytes an element in bf16: memory-bound.
// A block takes a row; a thread's chunks stay in registers between the maximum and the codes.
#include "cuda/quantize.h"

#include "cuda/chunk.h"
#include "cuda/reduce.h"

namespace bittern::cuda {
namespace {

struct QuantizeArgs {
  Rows q, x;
  int cols;
};

__device__ __forceinline__ std::uint32_t largest_of(const float (&v)[chunk], std::uint32_t largest) {
#pragma unroll
  for (int i = 0; i < chunk; ++i) {
    const std::uint32_t bits = magnitude_bits(v[i]);
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

template <int held, bool vector>
__global__ void __launch_bounds__(256) quantize_kernel(QuantizeArgs a) {
  auto& shared = gpu::shared_memory<OfWarps<std::uint32_t>>();
  const std::int64_t row = blockIdx.x;
  const int step = static_cast<int>(blockDim.x) * chunk, first = static_cast<int>(threadIdx.x) * chunk;
  float value[held][chunk];
  std::uint32_t largest = 0;
#pragma unroll
  for (int k = 0; k < held; ++k) {
    const int col = first + k * step;
    if (col >= a.cols) continue;
    load<vector>(a.x, row, col, a.cols, value[k]);
    largest = largest_of(value[k], largest);
  }
  for (int col = first + held * step; col < a.cols; col += step) {
    float v[chunk];
    load<vector>(a.x, row, col, a.cols, v);
    largest = largest_of(v, largest);
  }
  const float scale = scale_of_codes(a.q.dtype, block_largest(largest, shared));
  if (threadIdx.x == 0) a.q.scales[row] = scale;
#pragma unroll
  for (int k = 0; k < held; ++k) {
    const int col = first + k * step;
    if (col < a.cols) store_quantized<vector>(a.q, row, col, a.cols, value[k], scale);
  }
  for (int col = first + held * step; col < a.cols; col += step) {
    float v[chunk];
    load<vector>(a.x, row, col, a.cols, v);
    store_quantized<vector>(a.q, row, col, a.cols, v, scale);
  }
}

}  // namespace

void quantize(const Rows& q, const Rows& x, std::int64_t rows, int cols, cudaStream_t stream) {
  if (rows == 0) return;
  const bool vector = vector_rows(q, cols) && vector_rows(x, cols);
  gpu::launch(vector ? quantize_kernel<2, true> : quantize_kernel<2, false>,
              {.grid = dim3(static_cast<unsigned>(rows)),
               .block = dim3(static_cast<unsigned>(threads_for(cols))),
               .shared_bytes = sizeof(OfWarps<std::uint32_t>),
               .stream = stream},
              {q, x, cols});
}

}  // namespace bittern::cuda
