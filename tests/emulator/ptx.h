// The PTX instructions of cuda/ptx.h on the emulated device. A copy that PTX lets arrive later arrives as late as it
// allows: a missing wait gives a wrong result, always.
#pragma once

#include <cstdint>

#include "emulator/engine.h"

namespace emulator {

void cp_async(void* shared, const void* global, unsigned bytes, Line at = Line::here());
void cp_async_commit();
/// Waits for all groups but the newest ones.
void cp_async_wait(unsigned newest);

/// Four 8x8 matrices of 16-bit elements: lane i gives the address of row i % 8 of matrix i / 8.
void ldmatrix_x4(std::uint32_t (&r)[4], const void* row, bool transposed, Line at = Line::here());

/// d += a b by one warp: a 16x16 by rows, b 16x8 by columns, bf16; sums in f32.
void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Line at = Line::here());

}  // namespace emulator
