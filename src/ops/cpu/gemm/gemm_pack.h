// gemm_pack: lines of an operand, over a run of k, to panels (gemm_kernels.h). Codes that the packers cannot read where
// they lie pass through a stage (gemm_stage.h), a small piece at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/cpu/gemm/gemm.h"
#include "ops/cpu/gemm/gemm_kernels.h"

namespace bittern::cpu {

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};
/// The block of at most `size` that begins at `begin`, of a whole that ends at `end`.
inline Range block(std::int64_t begin, std::int64_t size, std::int64_t end) {
  return {begin, std::min(end, begin + size)};
}

/// Words of a stage.
inline constexpr std::int64_t gemm_stage_words = 8 << 10;

/// An operand and how its panels are made.
struct PackedOperand {
  const GemmMatrix& matrix;
  bool along;     ///< k is inside its stored rows
  bool integers;  ///< it becomes bytes, or pairs of 16 bits, for a product of integers
  const PackTable& table;
  int width;  ///< lines of a panel
  int k_per_word;
  std::int64_t panel;               ///< words from one panel to the next
  const float* k_scales = nullptr;  ///< of each k, for a table that multiplies with them

  PackFn packer(DType stored) const {
    return table[static_cast<std::size_t>(along ? Layout::along_k : Layout::across_k)]
                [static_cast<std::size_t>(storage_of(stored))];
  }
};

/// dst, the first line's panel at the word where k begins = lines `lines` over `k`; a panel's last words are filled up.
/// `stage`: gemm_stage_words words.
void pack_operand(const PackedOperand& operand, Range lines, Range k, std::uint32_t* dst, std::uint32_t* stage);

}  // namespace bittern::cpu
