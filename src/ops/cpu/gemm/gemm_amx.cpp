// gemm in AMX: tiles of 16 rows by 16 words of bf16 or 8-bit integers (amx.h), four of which make 32 x 32 of C.
//
//   B panel   as in gemm_template.h, [word along k][32 columns]: 16 words of 16 columns are a tile
//   A panel   [16 words along k][32 rows][16 words]: a step along k is two tiles. Rows of bf16 could be read where they
//             lie, but tiles of rows that are far apart load more slowly: packing them first is 1.4 times faster.
//
// A sum over k begins at zero for each panel (not at C), whatever is done with it: bits must not depend on whether a
// tile of C is whole.
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>
#include <utility>

#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm/gemm_kernels.h"
#include "ops/cpu/machine/amx.h"

#if defined(BITTERN_HAS_AMX)

#define BITTERN_TARGET \
  [[gnu::target("amx-tile,amx-bf16,amx-int8,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]]

namespace bittern::cpu {
namespace {

#include "ops/cpu/gemm/gemm_avx512_lanes.h"
#include "ops/cpu/gemm/gemm_bf16_pairs.h"
#include "ops/cpu/gemm/gemm_template.h"

constexpr int mr = 32, nr = 32;
constexpr std::int64_t step_words = mr * amx::tile_words;  // of an A panel, for 16 words along k

/// Rows with k inside: decoded, and otherwise copied.
template <class Load>
BITTERN_TARGET void pack_a_along_k(const PackJob& job) {
  using Lanes = typename Load::Lanes;
  constexpr int elements = amx::tile_words * Load::per_word;
  const std::int64_t lines = (job.lines + amx::tile_rows - 1) / amx::tile_rows * amx::tile_rows;
  for (std::int64_t line = 0; line < lines; ++line) {
    const auto* src = static_cast<const typename Load::Stored*>(job.src) + line * job.stride;
    std::uint32_t* dst = job.dst + line / mr * job.panel_stride + line % mr * amx::tile_words;
    for (std::int64_t k = 0; k < job.k; k += elements, dst += step_words)
      Lanes::store_words(dst, line >= job.lines       ? Lanes::zero_words()
                              : k + elements <= job.k ? load_along<Load>(job, src + k, k, elements)
                                                      : load_along<Load>(job, src + k, k, static_cast<int>(job.k - k)));
  }
}

/// Rows side by side: squares of 16 x 16 words are transposed in registers.
template <class Load>
BITTERN_TARGET void pack_a_across_k(const PackJob& job) {
  using Lanes = typename Load::Lanes;
  const std::int64_t some_words = (job.k + 1) / 2, whole_words = job.k / 2;
  for (std::int64_t first = 0; first < some_words; first += amx::tile_words)
    for (std::int64_t line = 0; line < job.lines; line += amx::tile_rows) {
      const auto* src = static_cast<const typename Load::Stored*>(job.src) + line;
      std::uint32_t* dst =
          job.dst + line / mr * job.panel_stride + first / amx::tile_words * step_words + line % mr * amx::tile_words;
      const int count = job.lines - line < 16 ? static_cast<int>(job.lines - line) : 16;
      typename Lanes::Words square[16];
      if (count == 16 && first + 16 <= whole_words) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) {
          const std::int64_t k = (first + i) * 2;
          square[i] = load_across<Load>(job, src + k * job.stride, k, 16, true);
        }
      } else {
        for (int i = 0; i < 16; ++i) {
          const std::int64_t k = (first + i) * 2;
          square[i] = first + i < some_words
                          ? load_across<Load>(job, src + k * job.stride, k, count, first + i < whole_words)
                          : Lanes::zero_words();
        }
      }
      Lanes::transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) Lanes::store_words(dst + i * amx::tile_words, square[i]);
    }
}

/// The heart: accumulators are tiles 0 to 3, A is in 4 and 5, B in 6 and 7. What the caches lack comes in a few lines a
/// step, for bursts would hold up the loads of tiles.
template <class Lanes, class C, int row_tiles, int col_tiles>
BITTERN_TARGET void tile_product(const MicroJob& job) {
  constexpr bool integers = std::is_same_v<C, std::int32_t>;
  constexpr int rows = row_tiles * amx::tile_rows, steps_to_c = 8, lines_ahead = 4;
  C* const c = static_cast<C*>(job.tile);
  const std::int64_t tile_stride = job.tile_stride;
  const bool add = job.add;
  const auto* a = static_cast<const std::uint32_t*>(job.a);
  const std::uint32_t* b = job.b;
  const char* ahead = static_cast<const char*>(job.ahead);
  _tile_zero(0);
  if constexpr (col_tiles > 1) _tile_zero(1);
  if constexpr (row_tiles > 1) _tile_zero(2);
  if constexpr (row_tiles > 1 && col_tiles > 1) _tile_zero(3);
  const std::int64_t steps = job.k_words / amx::tile_words;
  for (std::int64_t step = 0; step < steps; ++step, a += step_words, b += nr * amx::tile_words) {
    _tile_loadd(4, a, 4 * amx::tile_words);
    _tile_loadd(6, b, 4 * nr);
    if constexpr (col_tiles > 1) _tile_loadd(7, b + 16, 4 * nr);
    if constexpr (row_tiles > 1) _tile_loadd(5, a + step_words / 2, 4 * amx::tile_words);
    if constexpr (integers) {
      _tile_dpbssd(0, 4, 6);
      if constexpr (col_tiles > 1) _tile_dpbssd(1, 4, 7);
      if constexpr (row_tiles > 1) _tile_dpbssd(2, 5, 6);
      if constexpr (row_tiles > 1 && col_tiles > 1) _tile_dpbssd(3, 5, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (col_tiles > 1) _tile_dpbf16ps(1, 4, 7);
      if constexpr (row_tiles > 1) _tile_dpbf16ps(2, 5, 6);
      if constexpr (row_tiles > 1 && col_tiles > 1) _tile_dpbf16ps(3, 5, 7);
    }
    if (step < steps_to_c)
      for (int i = 0; i < rows / steps_to_c; ++i) {
        const char* const row = job.result + (step * (rows / steps_to_c) + i) * job.result_stride;
        __builtin_prefetch(row, 1);
        if constexpr (col_tiles > 1) __builtin_prefetch(row + nr * sizeof(C) - 1, 1);
      }
    for (int i = 0; i < lines_ahead; ++i, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T1);
  }

  using Sum = std::conditional_t<integers, std::int32_t, float>;
  alignas(64) Sum sums[rows * nr];
  const bool direct = std::is_same_v<C, Sum> && !add;
  Sum* const to = direct ? static_cast<Sum*>(job.tile) : sums;
  const std::int64_t stride = direct ? tile_stride : nr;
  _tile_stored(0, to, 4 * stride);
  if constexpr (col_tiles > 1) _tile_stored(1, to + 16, 4 * stride);
  if constexpr (row_tiles > 1) _tile_stored(2, to + 16 * stride, 4 * stride);
  if constexpr (row_tiles > 1 && col_tiles > 1) _tile_stored(3, to + 16 * stride + 16, 4 * stride);
  if (direct) return;
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < col_tiles; ++j) {
      C* const out = c + i * tile_stride + j * 16;
      const typename Lanes::Acc sum = Lanes::load(sums + i * nr + j * 16);
      Lanes::store(out, add ? Lanes::add(Lanes::load(out), sum) : sum);
    }
}

template <class Lanes, class C>
constexpr MicroTable tile_products() {
  return {{{tile_product<Lanes, C, 1, 1>, tile_product<Lanes, C, 1, 2>},
           {tile_product<Lanes, C, 2, 1>, tile_product<Lanes, C, 2, 2>}}};
}

constexpr GemmKernels bf16_kernels{
    .mr = mr,
    .nr = nr,
    .lanes = 16,
    .k_per_word = 2,
    .row_step = amx::tile_rows,
    .k_step = amx::tile_words,
    .max_k_words = 384,
    .min_part_rows = 256,
    .pack_a = {{{pack_a_along_k<LoadF32>, pack_a_along_k<LoadBf16>, nullptr, pack_a_along_k<LoadE4m3>},
                {pack_a_across_k<LoadF32>, pack_a_across_k<LoadBf16>}}},
    .pack_b = {{{pack_along_k<LoadF32, nr, amx::tile_words>, pack_along_k<LoadBf16, nr, amx::tile_words>, nullptr,
                 pack_along_k<LoadE4m3, nr, amx::tile_words>},
                {pack_across_k<LoadF32, nr, amx::tile_words>, pack_across_k<LoadBf16, nr, amx::tile_words>, nullptr,
                 pack_across_k<LoadE4m3, nr, amx::tile_words>}}},
    .pack_scaled_a = {{{pack_a_along_k<LoadScaled<float>>, pack_a_along_k<LoadScaled<bf16>>},
                       {pack_a_across_k<LoadScaled<float>>, pack_a_across_k<LoadScaled<bf16>>}}},
    .micro = {tile_products<PairLanes, float>(), tile_products<PairLanes, bf16>()},
    .as_stored = std::nullopt,
    .micro_unpacked = {},
    .finish = finish<PairLanes>,
    .widen = {widen_rows<LoadF32>, widen_rows<LoadBf16>},
    .gemv = {gemv_columns<LoadF32>, gemv_columns<LoadBf16>},
    .enter = amx::configure,
    .leave = amx::release,
};

using Bytes = LoadBytes<Avx512Integers>;
constexpr GemmKernels int8_kernels{
    .mr = mr,
    .nr = nr,
    .lanes = 16,
    .k_per_word = 4,
    .row_step = amx::tile_rows,
    .k_step = amx::tile_words,
    .max_k_words = 384,
    .min_part_rows = 256,
    .pack_a = {{{nullptr, nullptr, pack_a_along_k<Bytes>}}},
    .pack_b = {{{nullptr, nullptr, pack_along_k<Bytes, nr, amx::tile_words>}}},
    .pack_scaled_a = {},
    .micro = {{{}, {}, tile_products<Avx512Integers, std::int32_t>()}},
    .as_stored = std::nullopt,
    .micro_unpacked = {},
    .finish = finish<Avx512Lanes, std::int32_t>,
    .widen = {},
    .gemv = {},
    .enter = amx::configure,
    .leave = amx::release,
};

}  // namespace

const GemmKernels& gemm_kernels_amx_bf16(DType compute) {
  return compute == DType::f32 ? gemm_kernels_avx512(compute) : bf16_kernels;
}
const GemmKernels& gemm_int8_kernels_amx() {
  return int8_kernels;
}

}  // namespace bittern::cpu
#elif defined(__x86_64__)  // ---- a compiler without AMX makes a program without Isa::amx_bf16: never called

namespace bittern::cpu {

const GemmKernels& gemm_kernels_amx_bf16(DType compute) {
  return gemm_kernels_avx512_bf16(compute);
}
const GemmKernels& gemm_int8_kernels_amx() {
  return gemm_int8_kernels_avx512_vnni();
}

}  // namespace bittern::cpu
#endif
