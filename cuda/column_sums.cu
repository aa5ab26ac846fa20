// column_sums: out (cols) f32 += sum over parts of partial (parts, cols) f32, in the order of the parts.
//   A thread a column. Reads 4 bytes of each partial sum: a few percent of the op whose second half it is.
#include "cuda/column_sums.h"

#include "cuda/chunk.h"

namespace bittern::cuda {
namespace {

__global__ void __launch_bounds__(256)
    add_parts_kernel(float* out, const float* partial, std::int64_t parts, std::int64_t stride, std::int64_t cols) {
  const std::int64_t col = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (col >= cols) return;
  float sum = 0.0f;
  for (std::int64_t part = 0; part < parts; ++part) sum += partial[part * stride + col];
  out[col] += sum;
}

}  // namespace

void add_parts(float* out, const float* partial, std::int64_t parts, std::int64_t stride, std::int64_t cols,
               cudaStream_t stream) {
  if (cols == 0) return;
  gpu::launch(add_parts_kernel, {.grid = dim3(blocks_for(cols, 256)), .block = dim3(256), .stream = stream}, out,
              partial, parts, stride, cols);
}

}  // namespace bittern::cuda
