// bias_backward: dbias (O) f32 += the sum over rows of dy (N,O) f32|bf16. (Forward is a part of linear.)
//   accumulates dbias. Moves 2 bytes an element in bf16, and 8 for each part of rows and column: memory-bound.
// A block takes a part of rows and 1024 columns, then the parts are added in order (column_sums.h).
#include "cuda/bias.h"

#include "bittern/row_parts.h"
#include "cuda/chunk.h"
#include "cuda/column_sums.h"

namespace bittern::cuda {
namespace {

struct BiasArgs {
  float* partial;
  Rows dy;
  std::int64_t rows;
  int cols;
};

constexpr int threads = 128;

template <bool vector>
__global__ void __launch_bounds__(threads) bias_kernel(BiasArgs a) {
  const std::int64_t parts = gridDim.x, begin = part_begin(a.rows, parts, blockIdx.x),
                     end = part_begin(a.rows, parts, static_cast<std::int64_t>(blockIdx.x) + 1);
  const int col = (static_cast<int>(blockIdx.y) * threads + static_cast<int>(threadIdx.x)) * chunk;
  if (col >= a.cols) return;
  float sum[chunk] = {};
#pragma unroll 4
  for (std::int64_t row = begin; row < end; ++row) {
    float d[chunk];
    load<vector>(a.dy, row, col, a.cols, d);
#pragma unroll
    for (int i = 0; i < chunk; ++i) sum[i] += d[i];
  }
  store_f32<false>(a.partial + static_cast<std::int64_t>(blockIdx.x) * a.cols + col, a.cols - col, sum);
}

}  // namespace

void bias_backward(float* dbias, float* partial, const Rows& dy, std::int64_t rows, int cols, cudaStream_t stream) {
  if (rows == 0) return;
  const std::int64_t parts = column_sum_parts(rows);
  gpu::launch(vector_rows(dy, cols) ? bias_kernel<true> : bias_kernel<false>,
              {.grid = dim3(static_cast<unsigned>(parts), blocks_for(cols, threads * chunk)),
               .block = dim3(threads),
               .stream = stream},
              {partial, dy, rows, cols});
  add_parts(dbias, partial, parts, cols, cols, stream);
}

}  // namespace bittern::cuda
