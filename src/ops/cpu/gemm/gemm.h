// gemm: C = alpha * A B (+ C) (+ bias), the packed matrix product that every linear layer and attention tile is made
// of.
//
//   A (m,k)   B (k,n)   C (m,n)   all row-major with a leading dimension; a transposed operand is stored (k,m) or (n,k)
//   storage   A, B and C are f32 or bf16, in any mixture. A (not transposed) and B may be codes (dtype.h) with a scale
//             for each stored row: they are decoded while they are packed, to bf16, which holds all codes exactly.
//   scales    of lines of the product (rows of A, rows of a transposed B) multiply the sum over k, in fp32. Those of B
//             not transposed lie along k: they multiply A (f32 or bf16) in fp32 before it is rounded to compute.
//   compute   f32: products and sums in fp32.  bf16: operands are rounded to nearest-even bf16 while they are packed,
//             products summed in fp32 (the tiles of AMX where the CPU has them, else VDPBF16PS, else FMA on the rounded
//             values at f32's speed). AMX and VDPBF16PS treat denormals as zero, in the operands and in the sums.
//   overwrites C, or adds to it with `accumulate`. A bf16 C is rounded once, after all of k, the old C and the bias.
//
//   integers  where A and B are both codes of integers (and k < 2^17: 32 bits hold every sum), their products are
//             summed as integers, whatever `compute` says, by VPDPBUSD or TDPBSSD where the CPU has them. Then
//             float(sum) * (alpha * row scale) * column scale (+ C) (+ bias) has the same bits on every CPU.
//
// Of floats, the order of the additions over k depends on k and the instruction set alone: not on threads, m, n,
// strides or on whether gemm or gemm_serial is called. So any split of m or n gives the same bits. Nothing is
// allocated. AMX sums 32 of k at a time, even and odd ones apart, then adds both to the sum so far (amx.h).
#pragma once

#include <cstdint>

#include "bittern/dtype.h"

namespace bittern::cpu {

struct GemmMatrix {
  const void* data;
  DType dtype;                    ///< f32, bf16, or codes
  std::int64_t stride;            ///< elements between the starts of two stored rows
  bool transposed;                ///< A stored (k,m), B stored (n,k)
  const float* scales = nullptr;  ///< of the stored rows, where dtype is codes
};

struct GemmArgs {
  std::int64_t m, n, k;
  GemmMatrix a, b;
  void* c;
  DType c_dtype;          ///< f32 or bf16
  std::int64_t c_stride;  ///< elements between the starts of two rows of C
  bool accumulate;        ///< C += instead of C =
  const float* bias;      ///< (n), or null
  DType compute;          ///< f32 or bf16
  void* workspace;        ///< gemm_workspace_bytes(thread_count()) or gemm_serial_workspace_bytes(), 64-byte aligned
  float alpha = 1.0f;     ///< multiplies the sum over k, in fp32
};

/// Whether the product is one of integers.
bool multiplies_integers(const GemmArgs& args);

/// On all threads of the pool (parallel.h).
void gemm(const GemmArgs& args);

/// On the calling thread: for attention's tiles, inside a parallel_for, with a workspace per worker.
void gemm_serial(const GemmArgs& args);

std::int64_t gemm_workspace_bytes(int threads);
std::int64_t gemm_serial_workspace_bytes();

}  // namespace bittern::cpu
