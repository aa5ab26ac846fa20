// embedding: out[n] = scale w[tokens[n]], w rounded to out's type first
//   tokens (N) i32   w (V,C) f32|bf16|codes with a scale per row   out, dout (N,C) f32|bf16   dw (V,C) f32
//   forward  overwrites out. A block a row; moves 4 bytes an element in bf16. A token that is none gives a row of zeros and
//            a fault.
//   backward dw[tokens[n]] += scale dout[n], accumulates dw. Rows come grouped by token (token_order.h): a warp takes 256 columns
//            of one token and adds its rows in order of n, so the bits are the CPU's, and no two warps write one element.
//            Moves 2 or 4 bytes an element, and 8 for each different token and column.
#include "cuda/embedding.h"

#include "cuda/chunk.h"
#include "cuda/fault.h"

namespace bittern::cuda {
namespace {

template <bool vector>
__global__ void __launch_bounds__(256) forward_kernel(EmbeddingForwardArgs a) {
  const std::int64_t row = blockIdx.x;
  const std::int32_t token = a.tokens[row];
  const bool known = token >= 0 && token < a.vocabulary;
  if (!known && threadIdx.x == 0) report_fault(a.record, a.op, row);
  for (int col = static_cast<int>(threadIdx.x) * chunk; col < a.cols; col += static_cast<int>(blockDim.x) * chunk) {
    float x[chunk] = {};
    if (known) load_any<vector>(a.w, token, col, a.cols, x);
#pragma unroll
    for (int i = 0; i < chunk; ++i) x[i] = (a.out.dtype == DType::bf16 ? to_float(to_bf16(x[i])) : x[i]) * a.scale;
    store<vector>(a.out, row, col, a.cols, x);
  }
}

constexpr int warps = 4, columns_of_warp = 32 * chunk;

template <bool vector>
__global__ void __launch_bounds__(warps * 32) backward_kernel(EmbeddingBackwardArgs a) {
  const std::int32_t group = static_cast<std::int32_t>(blockIdx.x);
  if (group >= a.order[0]) return;
  const std::int32_t begin = a.order[1 + group], end = a.order[2 + group];
  const std::int32_t* const rows = a.order + a.rows + 2;
  const std::int32_t token = a.tokens[rows[begin]];
  const int col = static_cast<int>(blockIdx.y) * warps * columns_of_warp + static_cast<int>(threadIdx.x) * chunk;
  if (col >= a.cols || token < 0 || token >= a.vocabulary) return;
  float sum[chunk];
  load<vector>(a.dw, token, col, a.cols, sum);
#pragma unroll 4
  for (std::int32_t i = begin; i < end; ++i) {
    float d[chunk];
    load<vector>(a.dout, rows[i], col, a.cols, d);
#pragma unroll
    for (int k = 0; k < chunk; ++k) sum[k] += d[k] * a.scale;
  }
  store<vector>(a.dw, token, col, a.cols, sum);
}

}  // namespace

void embedding_forward(const EmbeddingForwardArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  const bool vector = vector_rows(a.out, a.cols) && vector_rows(a.w, a.cols);
  gpu::launch(vector ? forward_kernel<true> : forward_kernel<false>,
              {.grid = dim3(static_cast<unsigned>(a.rows)),
               .block = dim3(static_cast<unsigned>(threads_for(a.cols))),
               .stream = stream},
              a);
}

void embedding_backward(const EmbeddingBackwardArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  const bool vector = vector_rows(a.dw, a.cols) && vector_rows(a.dout, a.cols);
  gpu::launch(vector ? backward_kernel<true> : backward_kernel<false>,
              {.grid = dim3(static_cast<unsigned>(a.rows), blocks_for(a.cols, warps * columns_of_warp)),
               .block = dim3(warps * 32),
               .stream = stream},
              a);
}

}  // namespace bittern::cuda
