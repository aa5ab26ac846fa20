// reduce: what the threads of a block make together, in an order that the block's size alone fixes: a warp by a butterfly,
// then the warps in the order of the butterfly's lanes. Maxima are taken of magnitudes as integers (quant/scales.h), in
// which no NaN is lost.
#pragma once

#include <cstdint>

#include "cuda/gpu.h"

namespace bittern::cuda {

inline constexpr unsigned all_lanes = 0xffffffffu;

template <class T>
__device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
  for (int bit = 16; bit > 0; bit /= 2) x += __shfl_xor_sync(all_lanes, x, bit);
  return x;
}
/// The larger of two, a NaN never.
__device__ __forceinline__ float larger(float a, float b) {
  return a > b ? a : b;
}
__device__ __forceinline__ float warp_largest(float x) {
#pragma unroll
  for (int bit = 16; bit > 0; bit /= 2) x = larger(x, __shfl_xor_sync(all_lanes, x, bit));
  return x;
}

/// Shared memory of the functions below: a number of each warp.
template <class T>
struct OfWarps {
  T of[32];
};

/// All threads of the block get the result. `shared` may be used again at once. Blocks are whole warps.
template <class T>
__device__ __forceinline__ T block_sum(T x, OfWarps<T>& shared) {
  x = warp_sum(x);
  if (blockDim.x == 32) return x;
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane == 0) shared.of[warp] = x;
  __syncthreads();
  x = warp_sum(lane < blockDim.x / 32 ? shared.of[lane] : T{});
  __syncthreads();
  return x;
}
__device__ __forceinline__ float block_largest(float x, OfWarps<float>& shared) {
  x = warp_largest(x);
  if (blockDim.x == 32) return x;
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane == 0) shared.of[warp] = x;
  __syncthreads();
  x = warp_largest(shared.of[lane < blockDim.x / 32 ? lane : 0]);
  __syncthreads();
  return x;
}
__device__ __forceinline__ std::uint32_t block_largest(std::uint32_t x, OfWarps<std::uint32_t>& shared) {
  x = __reduce_max_sync(all_lanes, x);
  if (blockDim.x == 32) return x;
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane == 0) shared.of[warp] = x;
  __syncthreads();
  x = __reduce_max_sync(all_lanes, shared.of[lane < blockDim.x / 32 ? lane : 0]);
  __syncthreads();
  return x;
}

}  // namespace bittern::cuda
