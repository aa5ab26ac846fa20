// The attention kernels for bf16 tensors with the tiles of AMX (amx.h): the words and the softmax of
// attention_bf16_pairs.h, products of 32 rows by a panel in four tiles of sums. f32 tensors go to the AVX-512 kernels.
//
// Rows of words are tiles as they are packed. Two things differ from VDPBF16PS: depths are whole tiles, so zeros follow
// the last key; and a left operand whose reduction runs over keys (V^T, K^T) is packed as (D', key_tile / 2) words,
// keys side by side.
#include "ops/cpu/attention/attention.h"

#if defined(__x86_64__)
#include "ops/cpu/machine/amx.h"

#if defined(BITTERN_HAS_AMX)
#define BITTERN_TARGET gnu::target("amx-tile,amx-bf16,avx512bf16,avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")

#include "ops/cpu/attention/attention_backward_tiles.h"
#include "ops/cpu/attention/attention_bf16_pairs.h"
#include "ops/cpu/attention/attention_forward_tiles.h"

namespace bittern::cpu::attention {
namespace {

struct Tiles : Dot {
  static constexpr std::int64_t rows_together = 32, tile = amx::tile_words, left_stride = key_tile / pack;

  BITTERN_VECTOR bool pack_left(float* to, const bf16* from, std::int64_t stride, std::int64_t count,
                                std::int64_t head_dim, std::int64_t padded) {
    bool special = false;
    for (std::int64_t key = 0; key < key_tile; key += tile * pack) {
      float rows[tile * tile];
      for (std::int64_t d = 0; d < padded; d += tile) {
        const std::int64_t exist = count - key < 0 ? 0 : smaller(count - key, tile * pack);
        special |= pack_columns(rows, from + key * stride + d, stride, exist, tile * pack, head_dim - d, tile);
        V block[tile];
        for (int i = 0; i < tile; ++i) block[i] = S::load(rows + i * tile);
        S::transpose(block);
        for (int i = 0; i < tile; ++i) S::store(to + (d + i) * left_stride + key / pack, block[i]);
      }
    }
    return special;
  }
  static std::int64_t left_words(std::int64_t, std::int64_t padded) { return left_stride * padded; }

  BITTERN_VECTOR void clear_rows(float* to, std::int64_t stride, std::int64_t first) {
    for (std::int64_t row = first; row % tile != 0; ++row)
      for (int n = 0; n < 2; ++n) S::store(to + row * stride + n * S::width, S::zero());
  }
  BITTERN_VECTOR void weigh(float* scores, std::int64_t keys, float c, const V (&max)[2], V (&total)[2]) {
    Dot::weigh(scores, keys, c, max, total);
    clear_rows(scores, S::panel, (keys + 1) / pack);
  }
  BITTERN_VECTOR void differentiate(const BackwardScratch& s, std::int64_t panel, std::int64_t width, std::int64_t keys,
                                    const ScoreMath& math) {
    Dot::differentiate(s, panel, width, keys, math);
    clear_rows(s.ds_columns + panel * S::panel, width, (keys + 1) / pack);
  }

  /// sums (32, panel) = rows `first` to first + count of A, times B (depth, N vectors).
  template <bool Columns, int N>
  BITTERN_VECTOR void multiply(float* sums, std::int64_t first, std::int64_t count, const float* a, std::int64_t lda,
                               const float* b, std::int64_t ldb, std::int64_t depth) {
    const std::int64_t a_stride = Columns ? left_stride : lda;
    a += first * a_stride;
    const bool two = count > tile;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    asm volatile("" ::: "memory");  // what was stored so far is what tiles load (amx.h)
    for (std::int64_t word = 0; word < depth; word += tile, a += tile, b += tile * ldb) {
      _tile_loadd(4, a, 4 * a_stride);
      _tile_loadd(6, b, 4 * ldb);
      if constexpr (N > 1) _tile_loadd(7, b + tile, 4 * ldb);
      if (two) _tile_loadd(5, a + tile * a_stride, 4 * a_stride);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (N > 1) _tile_dpbf16ps(1, 4, 7);
      if (!two) continue;
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (N > 1) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, 4 * S::panel);
    if constexpr (N > 1) _tile_stored(1, sums + tile, 4 * S::panel);
    if (!two) return;
    _tile_stored(2, sums + tile * S::panel, 4 * S::panel);
    if constexpr (N > 1) _tile_stored(3, sums + tile * S::panel + tile, 4 * S::panel);
  }
};

[[BITTERN_TARGET]] void forward_in_tiles(const ForwardUnit& unit, const ForwardScratch& scratch) {
  amx::configure();
  forward<Tiles>(unit, scratch);
  amx::release();
}
[[BITTERN_TARGET]] void backward_in_tiles(const BackwardUnit& unit, const BackwardScratch& scratch) {
  amx::configure();
  backward<Tiles>(unit, scratch);
  amx::release();
}

}  // namespace

Kernels amx_bf16_kernels(DType dtype) {
  Kernels kernels = avx512_kernels(dtype);
  if (dtype != DType::bf16) return kernels;
  kernels.forward = forward_in_tiles;
  kernels.backward = backward_in_tiles;
  return kernels;
}

}  // namespace bittern::cpu::attention
#else

/// Never called: a compiler without AMX makes a program without Isa::amx_bf16.
bittern::cpu::attention::Kernels bittern::cpu::attention::amx_bf16_kernels(DType dtype) {
  return avx512_kernels(dtype);
}
#endif
#endif
