// AMX tiles: eight registers of 16 rows by 64 bytes, and the instruction that multiplies them.
//
//   C (16 x 16 f32) += A (16 x 32 bf16) * B (32 x 16 bf16, stored as 16 rows of 16 pairs of neighbours along k)
//
// TDPBF16PS sums C + (even + odd): the products of even k in one chain of fused multiply-adds that starts at zero,
// those of odd k in another. It treats denormals as zero, in the operands and in every sum.
//
//   C (16 x 16 i32) += A (16 x 64 i8) * B (64 x 16 i8, stored as 16 rows of 16 fours of neighbours along k)
//
// TDPBSSD's sums are exact modulo 2^32.
//
// Code that uses tiles needs BITTERN_HAS_AMX (cpu_features.h: a compiler that knows them), Isa::amx_bf16 (a CPU and an
// operating system that have them), and configure() before and release() after it on the same thread.
#pragma once

#include <cstdint>

#include "ops/cpu/machine/cpu_features.h"

#ifdef BITTERN_HAS_AMX
#include "ops/cpu/machine/intrinsics.h"

namespace bittern::cpu::amx {

inline constexpr int tile_rows = 16;   ///< of A and C; words along k of B
inline constexpr int tile_words = 16;  ///< of 32 bits, in a row
inline constexpr int tile_bytes = tile_rows * tile_words * 4;

/// What LDTILECFG reads: eight whole tiles. A constant in memory, because g++ 11 and 12 tell their optimizer of its
/// first word only; nor do they tell it that a tile load reads memory.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64, "LDTILECFG reads 64 bytes");
inline constexpr TileConfig whole_tiles;

/// Makes all eight tiles of this thread whole. Other code of the thread (a library) may use tiles before configure()
/// and after release(), so each piece of work has its own pair of them: about 150 ns. Released tiles need not be saved
/// when threads change.
[[gnu::target("amx-tile")]] inline void configure() {
  _tile_loadconfig(&whole_tiles);
}
[[gnu::target("amx-tile")]] inline void release() {
  _tile_release();
}

}  // namespace bittern::cpu::amx
#endif
