// The functions and block sizes that one instruction set gives to the loops of the matrix product C = A B. The loops are
// in gemm.cpp and gemv.cpp; the functions in gemm_portable|avx2|avx_vnni|avx512|avx512_vnni|avx512_bf16|amx.cpp.
//
// A packer copies an operand into panels of 32-bit words. A word is one float, or neighbours along k: two bf16, four
// integers of 8 bits, or two integers widened to 16 bits. A panel of A holds `mr` rows, a panel of B `nr` columns, as
// panel[word along k][row or column]. What a panel has beyond the operand's edge is zero. (AMX reads the words of a row
// of A side by side, so its packers and microkernels use another order within a panel of A.)
//
// Only packers know how an operand is stored: f32, bf16, bytes, or, where a word is a pair of bf16, E4M3. Each of these
// has a Load (gemm_template.h). gemm_stage.h decodes all other codes before they are packed: to bytes if both operands
// are integers, else to bf16. It does so for every instruction set, and microkernels know nothing of it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "bittern/dtype.h"
#include "ops/cpu/machine/cpu_features.h"

namespace bittern::cpu {

/// What a packer reads and writes. A line is a row of A or a column of B; `lines` lines of `k` elements are packed.
struct PackJob {
  const void* src;      ///< the first line's first element
  std::int64_t stride;  ///< elements between stored rows
  std::int64_t lines, k;
  std::uint32_t* dst;               ///< the first panel's first word
  std::int64_t panel_stride;        ///< words from panel to panel: at least a panel's words and panel_padding
  const float* k_scales = nullptr;  ///< pack_scaled_a only: (k) the factor of each element along k
};
using PackFn = void (*)(const PackJob&);

/// What a microkernel reads and writes: tile (rows, vectors * lanes) = A panel * B panel, or += if `add`. The tile is
/// f32 or bf16; for integer operands it is int32.
struct MicroJob {
  std::int64_t k_words;
  const void* a;          ///< a packed panel of A, or rows of A as they are stored
  std::int64_t a_stride;  ///< bytes between stored rows of A; a panel does not use it
  const std::uint32_t* b;
  void* tile;
  std::int64_t tile_stride;
  bool add;
  const char* result;          ///< where the tile's rows go in C, at most 128 bytes each; may be prefetched
  std::int64_t result_stride;  ///< bytes between these rows
  const void* ahead;           ///< k_words * 16 bytes that later jobs read; may be prefetched
};
using MicroFn = void (*)(const MicroJob&);
using SealFn = void (*)(std::uint32_t* b_panel, std::int64_t k_words);

inline constexpr int max_mr = 32, max_nr = 32, max_row_steps = 14;
using MicroTable = std::array<std::array<MicroFn, 2>, max_row_steps>;

/// What `finish` reads and writes: C = alpha * row_scale * col_scale * tile (+ C if `add`) (+ bias). A microkernel writes
/// straight to C if nothing of this is to be done and the tile is whole; else it writes a tile, and finish goes on.
struct FinishJob {
  const void* tile;  ///< f32, or int32 sums; whole vectors are read, beyond `cols` too
  std::int64_t tile_stride, rows, cols;
  void* c;
  DType c_dtype;
  std::int64_t c_stride;
  bool add;
  const float* bias;  ///< from the tile's first column on; null: none
  float alpha;
  const float *row_scales, *col_scales;  ///< from the tile's first row and column on; null: all 1
};
using FinishFn = void (*)(const FinishJob&);

/// What `gemv` reads and writes: C (rows, cols) = A B^T * row_scale * col_scale (+ bias). A is rows of words (`widen`). B
/// is read as it is stored, (cols, k). For products of a few rows (gemv.h).
struct GemvJob {
  const std::uint32_t* a;  ///< rows that `widen` has written
  std::int64_t a_stride, rows;
  const void* b;
  std::int64_t b_stride, cols, k;
  void* c;
  DType c_dtype;
  std::int64_t c_stride;
  const float* bias;                     ///< from the first column on; null: none
  const float *row_scales, *col_scales;  ///< from the first row and column on; null: all 1
};
using GemvFn = void (*)(const GemvJob&);

/// How an operand lies in memory. along_k: the elements of a line are neighbours. across_k: the lines are neighbours, and
/// the elements of a line are a stride apart.
enum class Layout { along_k, across_k };
/// How elements are stored. integer: bytes in an operand, int32 in a tile. e4m3 and packed_integer (less than 8 bits) are
/// found in operands only. A table of functions has null for a storage that must be decoded before; packed_integer
/// always must.
enum class Storage { f32, bf16, integer, e4m3, packed_integer };
inline constexpr int storages = 5;
constexpr Storage storage_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return Storage::f32;
    case DType::bf16:
      return Storage::bf16;
    case DType::e4m3:
      return Storage::e4m3;
    case DType::i8:
      return Storage::integer;
    default:
      return Storage::packed_integer;
  }
}
using PackTable = std::array<std::array<PackFn, storages>, 2>;  ///< [Layout][Storage]; null: gemm_stage.h decodes first

struct GemmKernels {
  int mr, nr, lanes;
  int k_per_word;     ///< elements along k in a word: 2 for pairs of bf16
  int row_step;       ///< microkernels write a multiple of so many rows
  int k_step;         ///< a panel has a multiple of so many words along k; words beyond k are zero
  int max_k_words;    ///< a panel has at most so many words along k
  int min_part_rows;  ///< a thread that reads all of B has at least so many rows of C: with fewer
                      ///< it would wait for memory
  PackTable pack_a, pack_b;
  PackTable pack_scaled_a;                 ///< multiplies by PackJob::k_scales, then rounds
  std::array<MicroTable, storages> micro;  ///< [Storage of the tile][row steps - 1][vectors - 1]
  std::optional<Storage> as_stored;        ///< rows along k stored like this are words already: A need not be packed
  /// The microkernels for such an A, of mr rows: [Storage of the tile][vectors - 1].
  std::array<std::array<MicroFn, 2>, storages> micro_unpacked;
  FinishFn finish;
  std::array<PackFn, storages> widen;  ///< [Storage of A]: writes rows as words, the last vector filled up with zeros
  std::array<GemvFn, storages> gemv;   ///< [Storage of B]
  void (*enter)() = nullptr;           ///< called on a thread before its microkernels; null: nothing to do
  void (*leave)() = nullptr;           ///< called on the thread after them
  SealFn seal = nullptr;               ///< after a panel of B is packed: writes b_tail words behind its k_words
  int b_tail = 0;                      ///< words behind a panel of B that microkernels read
};

/// Packers store whole vectors, so they may write so many words past a panel's end. The padding has a second use: without
/// it panels could lie a power of two apart, and would then share the same few sets of the cache.
inline constexpr std::int64_t panel_padding = 16;

/// The kernels of an instruction set for operands of a compute type (f32 or bf16).
const GemmKernels& gemm_kernels(Isa isa, DType compute);
/// The kernels for two operands that are integers of at most 8 bits. They know only Storage::integer and Layout::along_k.
const GemmKernels& gemm_int8_kernels(Isa isa, Int8Dot dot);

// The two functions above choose from these. Each is defined in the file of its instruction set.
const GemmKernels& gemm_kernels_portable(DType compute);
const GemmKernels& gemm_int8_kernels_portable();
#if defined(__x86_64__)
const GemmKernels& gemm_kernels_avx2(DType compute);
const GemmKernels& gemm_kernels_avx512(DType compute);
const GemmKernels& gemm_kernels_avx512_bf16(DType compute);
const GemmKernels& gemm_kernels_amx_bf16(DType compute);

const GemmKernels& gemm_int8_kernels_avx2();
const GemmKernels& gemm_int8_kernels_avx_vnni();
const GemmKernels& gemm_int8_kernels_avx512();
const GemmKernels& gemm_int8_kernels_avx512_vnni();
const GemmKernels& gemm_int8_kernels_amx();
#endif

}  // namespace bittern::cpu
