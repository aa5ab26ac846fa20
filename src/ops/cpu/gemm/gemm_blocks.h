// gemm_blocks: how a product is cut into what its workspace and the caches have room for. It follows from the shape, the
// kernels and the space alone; only the number of blocks of k, which depends on k and the kernels, decides about bits.
//
//   for blocks of n, of m, and groups of blocks of k:   B is packed once for a group, block after block
//       the rows of C are shared out; each part packs its rows of A, block by block of k
#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/cpu/gemm/gemm.h"
#include "ops/cpu/gemm/gemm_kernels.h"
#include "ops/cpu/gemm/gemm_pack.h"
#include "ops/cpu/machine/multiples.h"

namespace bittern::cpu {

/// What a call may use, in words and floats. A word is 4 bytes (gemm_kernels.h).
struct GemmSpace {
  std::int64_t b_words;    ///< packed B, shared by the threads
  std::int64_t a_words;    ///< packed A, one per thread, which has a stage (gemm_pack.h) besides
  std::int64_t sum_words;  ///< sums between blocks of k that C cannot hold

  constexpr std::int64_t bytes(int threads) const {
    return 4 * (b_words + sum_words + threads * (a_words + gemm_stage_words));
  }
};

// Tuned by tests/bench/gemm_bench on a Zen 4 (32 KB L1, 1 MB L2). All threads: B in their L3, A in half of an L2. One
// tile: everything in an L2. Both hold at least one panel.
inline constexpr GemmSpace parallel_gemm_space{1 << 20, 128 << 10, 1 << 20};
inline constexpr GemmSpace serial_gemm_space{96 << 10, 32 << 10, 32 << 10};

struct GemmBlocks {
  std::int64_t m, n, k;           ///< of a block
  std::int64_t k_group;           ///< of the blocks for which B is packed at a time
  std::int64_t a_panel, b_panel;  ///< words from one panel to the next
  std::int64_t b_block;           ///< words from one block of k of B to the next
  bool sum_apart;                 ///< k has several blocks, and C cannot hold a sum between them
};

inline constexpr std::int64_t k_granule = 32;  ///< blocks of k are multiples of the widest vector of elements

/// Words of a panel for k elements.
inline std::int64_t words_along(const GemmKernels& kernels, std::int64_t k) {
  return round_up(ceil_div(k, kernels.k_per_word), kernels.k_step);
}

/// The size of equal blocks of at most `most` that cover n, a multiple of `step` (as `most` is).
constexpr std::int64_t balanced(std::int64_t n, std::int64_t most, std::int64_t step) {
  return n == 0 ? step : round_up(ceil_div(n, ceil_div(n, most)), step);
}

/// `kernels`: those of the product, which is one of integers or not.
inline GemmBlocks gemm_blocks(const GemmArgs& g, const GemmKernels& kernels, const GemmSpace& space) {
  const std::int64_t mr = kernels.mr, nr = kernels.nr;
  GemmBlocks blocks{};
  blocks.k = balanced(g.k, kernels.max_k_words * kernels.k_per_word, k_granule);
  const std::int64_t k_words = words_along(kernels, std::min(g.k, blocks.k));
  blocks.a_panel = mr * k_words + panel_padding;
  blocks.b_panel = nr * k_words + kernels.b_tail + panel_padding;
  blocks.n = balanced(g.n, space.b_words / blocks.b_panel * nr, nr);
  blocks.m = g.m;
  blocks.sum_apart = (multiplies_integers(g) || g.c_dtype != DType::f32) && g.k > blocks.k;
  if (blocks.sum_apart) {
    blocks.n = std::min(blocks.n, space.sum_words / (2 * mr) / nr * nr);
    blocks.m = balanced(g.m, space.sum_words / blocks.n / mr * mr, mr);
  }
  blocks.b_block = blocks.n / nr * blocks.b_panel;
  blocks.k_group = std::max<std::int64_t>(1, space.b_words / blocks.b_block) * blocks.k;
  return blocks;
}

}  // namespace bittern::cpu
