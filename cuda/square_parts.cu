// square_parts: parts[j] = sum of squares of the j-th part of rows (row_parts.h), over all gradients, in double.
//   Reads the gradients, 4 bytes an element: memory-bound. Squares and sums are double, as fp32 squares overflow at 1e19.
// A block takes a piece of a part, about 64 Ki elements: thread t adds elements t, t + 256, ..., then a fixed tree. Then a
// thread of each part adds its pieces in order. Parts are the CPU's; their last bits are not, where a part is more than
// one piece or a piece more than a few elements.
#include "cuda/square_parts.h"

#include "bittern/row_parts.h"
#include "cuda/chunk.h"
#include "cuda/reduce.h"

namespace bittern::cuda {
namespace {

constexpr int threads = 256;
constexpr std::int64_t piece_elements = 65536;

/// The gradient that holds number `at` of what `first` counts.
template <class First>
__device__ __forceinline__ const SquaredGradient& gradient_at(const SquaredGradients& a, std::int64_t at, First first) {
  int i = 0;
  while (i + 1 < a.count && first(a.of[i + 1]) <= at) ++i;
  return a.of[i];
}

__global__ void __launch_bounds__(threads) piece_sums_kernel(const __grid_constant__ SquaredGradients a) {
  auto& shared = gpu::shared_memory<OfWarps<double>>();
  const SquaredGradient& g = gradient_at(a, blockIdx.x, [](const SquaredGradient& x) { return x.first_piece; });
  const std::int64_t number = blockIdx.x - g.first_piece, part = number / g.pieces, piece = number % g.pieces;
  const std::int64_t parts = row_parts(g.rows), begin = part_begin(g.rows, parts, part) * g.cols,
                     end = part_begin(g.rows, parts, part + 1) * g.cols;
  const std::int64_t first = begin + part_begin(end - begin, g.pieces, piece),
                     last = begin + part_begin(end - begin, g.pieces, piece + 1);
  double sum = 0.0;
#pragma unroll 4
  for (std::int64_t i = first + threadIdx.x; i < last; i += threads) {
    const double x = static_cast<double>(g.data[i]);
    sum += x * x;
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) a.piece_sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(threads) part_sums_kernel(const __grid_constant__ SquaredGradients a) {
  const SquaredGradient& last = a.of[a.count - 1];
  const std::int64_t number = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (number >= last.first_part + row_parts(last.rows)) return;
  const SquaredGradient& g = gradient_at(a, number, [](const SquaredGradient& x) { return x.first_part; });
  const double* const pieces = a.piece_sums + g.first_piece + (number - g.first_part) * g.pieces;
  double sum = 0.0;
  for (std::int64_t i = 0; i < g.pieces; ++i) sum += pieces[i];
  a.parts[number] = sum;
}

}  // namespace

std::int64_t pieces_of_part(std::int64_t rows, std::int64_t cols) {
  const std::int64_t parts = row_parts(rows), elements = (rows + parts - 1) / parts * cols;
  return elements <= piece_elements ? 1 : (elements + piece_elements - 1) / piece_elements;
}

void square_parts(const SquaredGradients& a, cudaStream_t stream) {
  if (a.count == 0) return;
  gpu::launch(piece_sums_kernel,
              {.grid = dim3(static_cast<unsigned>(a.pieces)),
               .block = dim3(threads),
               .shared_bytes = sizeof(OfWarps<double>),
               .stream = stream},
              a);
  const SquaredGradient& last = a.of[a.count - 1];
  gpu::launch(part_sums_kernel,
              {.grid = dim3(blocks_for(last.first_part + row_parts(last.rows), threads)),
               .block = dim3(threads),
               .stream = stream},
              a);
}

}  // namespace bittern::cuda
