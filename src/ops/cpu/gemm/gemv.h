// gemv: C = A B^T (+ bias) for a few rows of A, as generation has them: B is read once, where it lies, and never
// packed.
//
//   A (m,k)   B stored (n,k)   C (m,n)   types, scales, compute and rounding as in gemm.h; overwrites C
//   Codes of B are decoded some rows at a time, in a cache. Products of integers (gemm.h) have gemm's bits.
//
// Of floats, the order of the additions is not gemm's: words of k (gemm_kernels.h) go to the lanes of a vector in turn,
// each lane adds its own in the order of k, and the lanes' sums are added pairwise. It depends on k and the instruction
// set alone, so a row has the same bits in any company, but not the bits that gemm gives it.
#pragma once

#include "ops/cpu/gemm/gemm.h"

namespace bittern::cpu {

/// Whether gemv takes a product (otherwise gemm does): a matter of its shape alone.
bool gemv_takes(std::int64_t m, std::int64_t k);

/// On all threads of the pool, in gemm's workspace. Fails if A is transposed or B is not, and with accumulate or alpha.
void gemv(const GemmArgs& args);

}  // namespace bittern::cpu
