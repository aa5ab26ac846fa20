// orthogonalize: a matrix U becomes about the nearest one with orthonormal rows (or columns, where they are fewer):
// its singular vectors stay, its singular values become about 1. By Newton-Schulz steps (optim/muon.h), that is by
// matrix products alone.
#pragma once

#include <cstdint>

#include "bittern/optim/muon.h"

namespace bittern::cpu {

/// Floats of scratch for a matrix of rows x cols.
std::int64_t orthogonalize_scratch(const Orthogonalization& how, std::int64_t rows, std::int64_t cols);

/// matrix (rows, cols) in place, each of its how.blocks blocks of rows for itself. `scratch` has orthogonalize_scratch()
/// floats, 64-byte aligned; `gemm_workspace` as in gemm.h.
void orthogonalize(float* matrix, std::int64_t rows, std::int64_t cols, const Orthogonalization& how, float* scratch,
                   void* gemm_workspace);

}  // namespace bittern::cpu
