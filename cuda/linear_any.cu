// linear_any: out (M,N) = A (M,K) B (N,K)^T for every type, stride, size and direction that a linear has. It is the path
// that is always there: what faster paths do not take, and what their tests compare with.
//   a, b f32|bf16|codes   out f32|bf16   sums fp32, in the order of k
//   overwrites out, or accumulates it. Codes are taken as numbers; their scales multiply the sums, or, along the reduction,
//   the other operand before it is rounded. Of two operands of integer codes the sums are integers, exact.
// A block of 256 threads makes 64 x 64 outputs, 4 x 4 each. Both operands go through shared memory as fp32, 32 of k at a
// time. Far from the tensor cores' speed: bound by fused multiply-adds.
#include "cuda/linear_any.h"

#include <type_traits>

#include "bittern/quant/bf16.h"
#include "cuda/chunk.h"
#include "cuda/gpu.h"

namespace bittern::cuda {
namespace {

constexpr int tile = 64, step = 32, threads = 256, side = 4;

struct Tiles {
  float a[step][tile], b[step][tile];
};

/// The number of one code of a packed row.
__device__ __forceinline__ float number_at(const Rows& x, std::int64_t row, std::int64_t col) {
  const int bits = element_bits(x.dtype);
  const std::int64_t first = col * bits;
  const std::uint8_t* const from = row_at(x, row) + first / 8;
  const int shift = static_cast<int>(first % 8);
  std::uint32_t packed = from[0];
  if (shift + bits > 8) packed |= static_cast<std::uint32_t>(from[1]) << 8;
  return number_of_code(x.dtype, packed >> shift & ((1u << bits) - 1));
}

/// Element (i,k) of the operand as the product takes it.
__device__ __forceinline__ float element(const LinearOperand& o, std::int64_t i, std::int64_t k, bool bf16_operands) {
  const std::int64_t row = o.transposed ? k : i, col = o.transposed ? i : k;
  if (is_code(o.x.dtype)) return number_at(o.x, row, col);
  const std::int64_t at = row * o.x.stride + col;
  float value = o.x.dtype == DType::f32 ? static_cast<const float*>(o.x.data)[at]
                                        : to_float(static_cast<const bf16*>(o.x.data)[at]);
  if (o.factors != nullptr) value *= o.factors[k];
  return bf16_operands ? to_float(to_bf16(value)) : value;
}

/// to (step, tile) = the operand's elements from (first_i, first_k) on, 0 beyond its ends. Neighbouring threads read
/// neighbouring elements of x.
__device__ __forceinline__ void fill(float (&to)[step][tile], const LinearOperand& o, std::int64_t first_i,
                                     std::int64_t count, std::int64_t first_k, std::int64_t depth, bool bf16_operands) {
  for (int index = static_cast<int>(threadIdx.x); index < tile * step; index += threads) {
    const int i = o.transposed ? index % tile : index / step, k = o.transposed ? index / tile : index % step;
    const bool there = first_i + i < count && first_k + k < depth;
    to[k][i] = there ? element(o, first_i + i, first_k + k, bf16_operands) : 0.0f;
  }
}

/// Sum: float, or std::int32_t where both operands are integers.
template <class Sum>
__device__ __forceinline__ Sum multiply_add(float a, float b, Sum sum) {
  if constexpr (std::is_same_v<Sum, float>)
    return fmaf(a, b, sum);
  else
    return sum + static_cast<Sum>(a) * static_cast<Sum>(b);
}

template <class Sum>
__global__ void __launch_bounds__(threads) linear_any_kernel(LinearAnyArgs p) {
  auto& tiles = gpu::shared_memory<Tiles>();
  const std::int64_t across = (p.cols + tile - 1) / tile;
  const std::int64_t first_row = blockIdx.x / across * tile, first_col = blockIdx.x % across * tile;
  const int own_row = static_cast<int>(threadIdx.x) / (tile / side) * side,
            own_col = static_cast<int>(threadIdx.x) % (tile / side) * side;
  Sum sum[side][side] = {};
  for (std::int64_t first_k = 0; first_k < p.depth; first_k += step) {
    fill(tiles.a, p.a, first_row, p.rows, first_k, p.depth, p.bf16_operands);
    fill(tiles.b, p.b, first_col, p.cols, first_k, p.depth, p.bf16_operands);
    __syncthreads();
    const int last = p.depth - first_k < step ? static_cast<int>(p.depth - first_k) : step;
    for (int k = 0; k < last; ++k)
#pragma unroll
      for (int r = 0; r < side; ++r)
#pragma unroll
        for (int c = 0; c < side; ++c)
          sum[r][c] = multiply_add(tiles.a[k][own_row + r], tiles.b[k][own_col + c], sum[r][c]);
    __syncthreads();
  }
  for (int r = 0; r < side; ++r)
    for (int c = 0; c < side; ++c) {
      const std::int64_t row = first_row + own_row + r, col = first_col + own_col + c;
      if (row >= p.rows || col >= p.cols) continue;
      float value = static_cast<float>(sum[r][c]);
      if (p.b.scales != nullptr) value *= p.b.scales[col];
      if (p.a.scales != nullptr) value *= p.a.scales[row];
      if (p.bias != nullptr) value += p.bias[col];
      const std::int64_t at = row * p.out.stride + col;
      if (p.out.dtype == DType::f32) {
        auto* const to = static_cast<float*>(p.out.data);
        to[at] = p.accumulate ? to[at] + value : value;
      } else {
        static_cast<bf16*>(p.out.data)[at] = to_bf16(value);
      }
    }
}

bool is_integer(DType dtype) {
  return is_code(dtype) && dtype != DType::e4m3;
}

}  // namespace

void linear_any(const LinearAnyArgs& args, cudaStream_t stream) {
  const std::int64_t blocks = ((args.rows + tile - 1) / tile) * ((args.cols + tile - 1) / tile);
  if (blocks == 0) return;
  const bool integers = is_integer(args.a.x.dtype) && is_integer(args.b.x.dtype);
  gpu::launch(integers ? linear_any_kernel<std::int32_t> : linear_any_kernel<float>,
              {.grid = dim3(static_cast<unsigned>(blocks)),
               .block = dim3(threads),
               .shared_bytes = sizeof(Tiles),
               .stream = stream},
              args);
}

}  // namespace bittern::cuda
