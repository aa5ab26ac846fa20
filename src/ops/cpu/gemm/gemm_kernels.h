// The seam between the product's loops (gemm.cpp, gemv.cpp) and one instruction set's code
// (gemm_portable|avx2|avx_vnni|avx512|avx512_vnni|avx512_bf16|amx.cpp).
//
// Packed operands are panels of 32-bit words. A word is one float, or neighbours along k: two bf16, or integers of 8
// bits, four as they are or two widened to 16 bits. An A panel holds `mr` rows, a B panel `nr` columns:  panel[word
// along k][row or column]. Ragged edges are padded with zeros. (AMX wants rows of A with words side by side: its
// packers and microkernels agree on another order within an A panel.)
//
// Only packers know how operands are stored: as f32, bf16, bytes, or E4M3 where words are pairs of bf16, a Load
// (gemm_template.h) each. Other codes become bf16, or bytes where both operands are integers, on their way to the
// packers (gemm_stage.h), for all instruction sets alike; microkernels do not change.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "bittern/dtype.h"
#include "ops/cpu/machine/cpu_features.h"

namespace bittern::cpu {

/// Packs `lines` rows of A (columns of B) over `k` elements.
struct PackJob {
  const void* src;      ///< the first line's first element
  std::int64_t stride;  ///< elements between stored rows
  std::int64_t lines, k;
  std::uint32_t* dst;               ///< the first panel's first word
  std::int64_t panel_stride;        ///< words between panels; at least panel_padding more than a panel's own
  const float* k_scales = nullptr;  ///< of each k, for pack_scaled_a
};
using PackFn = void (*)(const PackJob&);

/// tile (rows, vectors * lanes) = A panel * B panel, or += it. The tile is f32 or bf16, or of the integers' sums.
struct MicroJob {
  std::int64_t k_words;
  const void* a;          ///< a panel, or rows as they are stored,
  std::int64_t a_stride;  ///< this many bytes apart
  const std::uint32_t* b;
  void* tile;
  std::int64_t tile_stride;
  bool add;
  const char* result;          ///< the tile's place in C, which a microkernel may prefetch:
  std::int64_t result_stride;  ///< rows of at most 128 bytes, this many bytes apart
  const void* ahead;           ///< what later jobs read, 16 bytes for each of k_words: a microkernel may prefetch it
};
using MicroFn = void (*)(const MicroJob&);
using SealFn = void (*)(std::uint32_t* b_panel, std::int64_t k_words);

inline constexpr int max_mr = 32, max_nr = 32, max_row_steps = 14;
using MicroTable = std::array<std::array<MicroFn, 2>, max_row_steps>;

/// C = alpha * row_scale * col_scale * tile (+ C) (+ bias): the way to C where the microkernel cannot go itself.
struct FinishJob {
  const void* tile;  ///< floats, or the integers' sums; whole vectors may be read
  std::int64_t tile_stride, rows, cols;
  void* c;
  DType c_dtype;
  std::int64_t c_stride;
  bool add;
  const float* bias;  ///< of the tile's first column, or null
  float alpha;
  const float *row_scales, *col_scales;  ///< of the tile's first row and column, or null: 1
};
using FinishFn = void (*)(const FinishJob&);

/// C (rows, cols) = A B^T * row_scale * col_scale (+ bias), rows of words with stored rows of B (gemv.h).
struct GemvJob {
  const std::uint32_t* a;  ///< from `widen`
  std::int64_t a_stride, rows;
  const void* b;
  std::int64_t b_stride, cols, k;
  void* c;
  DType c_dtype;
  std::int64_t c_stride;
  const float* bias;                     ///< of the first column, or null
  const float *row_scales, *col_scales;  ///< of the first row and column, or null: 1
};
using GemvFn = void (*)(const GemvJob&);

/// How an operand lies in memory: its lines are rows with k inside, or k is outside and the lines are side by side.
enum class Layout { along_k, across_k };
/// integer: bytes as operands, 32 bits as sums. The last two are operands alone; a table of functions has null for what
/// must be decoded first, as packed integers always must.
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
using PackTable = std::array<std::array<PackFn, storages>, 2>;  ///< [Layout][Storage], null where a stage is needed

struct GemmKernels {
  int mr, nr, lanes;
  int k_per_word;     ///< elements of k in a word: 2 for pairs of bf16
  int row_step;       ///< tiles have a multiple of so many rows: microkernels write whole steps
  int k_step;         ///< words along k of a panel: a multiple of this, the last ones zero
  int max_k_words;    ///< of a panel
  int min_part_rows;  ///< of C, for which a thread reads all of B: fewer would wait for memory
  PackTable pack_a, pack_b;
  PackTable pack_scaled_a;                 ///< times scales along k before any rounding
  std::array<MicroTable, storages> micro;  ///< [Storage of the tile][row steps - 1][vectors - 1]
  std::optional<Storage> as_stored;  ///< a storage type whose rows along k are words already: A need not be packed
  /// For that, mr rows: [Storage of the tile][vectors - 1].
  std::array<std::array<MicroFn, 2>, storages> micro_unpacked;
  FinishFn finish;
  std::array<PackFn, storages> widen;  ///< [Storage of A]: rows as words, their last vector filled up with zeros
  std::array<GemvFn, storages> gemv;   ///< [Storage of B]
  void (*enter)() = nullptr;           ///< around microkernels, on their thread, where the CPU wants it
  void (*leave)() = nullptr;
  SealFn seal = nullptr;  ///< once a panel of B is packed, writes behind its k_words
  int b_tail = 0;         ///< this many words, which microkernels read
};

/// Packers may write this many words past a panel's end (they store whole vectors); it also keeps panels from lying a
/// power of two apart, where they would fall into the same cache sets.
inline constexpr std::int64_t panel_padding = 16;

/// The kernels of an instruction set for a compute type (f32 or bf16).
const GemmKernels& gemm_kernels(Isa isa, DType compute);
/// Those for operands that are integers of 8 bits or less: their only Storage is `integer`, their only Layout along_k.
const GemmKernels& gemm_int8_kernels(Isa isa, Int8Dot dot);

// What these two choose from: each instruction set's, in its own file.
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
