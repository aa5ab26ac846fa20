// The PTX instructions that kernels use, a function each. On the emulated device the same functions do what the PTX manual
// says (tests/emulator/ptx.h).
#pragma once

#include <cstdint>

#include "cuda/gpu.h"

#ifdef __CUDACC__
#define BITTERN_PTX(instruction, emulated) instruction
#else
#include "emulator/ptx.h"
#define BITTERN_PTX(instruction, emulated) emulated
#endif

namespace bittern::gpu {

__device__ __forceinline__ std::uint32_t shared_address([[maybe_unused]] const void* shared) {
  BITTERN_PTX(return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared)), return 0);
}

/// Begins a copy of 16 bytes, both addresses multiples of 16. It is there after the commit of its group, the group's wait
/// and, for other threads, a barrier.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global) {
  BITTERN_PTX(asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global)
                           : "memory"),
              emulator::cp_async(shared, global, 16));
}
__device__ __forceinline__ void cp_async_commit() {
  BITTERN_PTX(asm volatile("cp.async.commit_group;" ::: "memory"), emulator::cp_async_commit());
}
/// Waits for all groups of this thread but the newest ones.
template <int Newest>
__device__ __forceinline__ void cp_async_wait() {
  BITTERN_PTX(asm volatile("cp.async.wait_group %0;" ::"n"(Newest) : "memory"), emulator::cp_async_wait(Newest));
}

/// Four 8x8 matrices of 16-bit elements for a warp: lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  BITTERN_PTX(asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                           : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                           : "r"(shared_address(row))
                           : "memory"),
              emulator::ldmatrix_x4(r, row, false));
}
/// The same, each matrix transposed.
__device__ __forceinline__ void ldmatrix_x4_transposed(std::uint32_t (&r)[4], const void* row) {
  BITTERN_PTX(asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                           : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                           : "r"(shared_address(row))
                           : "memory"),
              emulator::ldmatrix_x4(r, row, true));
}

/// d += a b by a warp: a 16x16 by rows, b 16x8 by columns, bf16; sums in f32.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2]) {
  BITTERN_PTX(asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                           "{%0,%1,%2,%3};"
                           : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                           : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])),
              emulator::mma_m16n8k16_bf16(d, a, b));
}

/// 2^x and 1/x as the GPU approximates them (2^-22 relative); exact on the emulated device.
__device__ __forceinline__ float exp2_approximate(float x) {
  float y;
  BITTERN_PTX(asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x)), y = std::exp2(x));
  return y;
}
__device__ __forceinline__ float reciprocal_approximate(float x) {
  float y;
  BITTERN_PTX(asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x)), y = 1.0f / x);
  return y;
}

}  // namespace bittern::gpu
