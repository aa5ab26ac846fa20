// Packs lines of an operand into panels; decodes codes first, a small piece at a time, if a packer cannot read them.
#include "ops/cpu/gemm/gemm_pack.h"

#include "ops/cpu/gemm/gemm_stage.h"

namespace bittern::cpu {
namespace {

// Pieces that are staged: a panel's lines by 256 of k, or 256 lines by 32 of k.
constexpr std::int64_t stage_run = 256, stage_rows = 32;
static_assert(max_mr <= stage_rows && max_nr <= stage_rows);
static_assert(stage_run * stage_rows * 2 <= 4 * gemm_stage_words, "a stage holds a piece of bf16");

const char* first_of(const PackedOperand& operand, Range lines, Range k) {
  const GemmMatrix& x = operand.matrix;
  const std::int64_t row = operand.along ? lines.begin : k.begin, col = operand.along ? k.begin : lines.begin;
  return static_cast<const char*>(x.data) + row * row_bytes(x.dtype, x.stride) + row_bytes(x.dtype, col);
}

/// By way of the stage.
void pack_staged(const PackedOperand& operand, Range lines, Range k, std::uint32_t* dst, std::uint32_t* stage) {
  const GemmMatrix& x = operand.matrix;
  const bool along = operand.along;
  const std::int64_t some_lines = along ? operand.width : stage_run / operand.width * operand.width;
  const std::int64_t some_k = along ? stage_run : stage_rows;
  for (std::int64_t line = lines.begin; line < lines.end; line += some_lines)
    for (std::int64_t deep = k.begin; deep < k.end; deep += some_k) {
      const Range l = block(line, some_lines, lines.end), d = block(deep, some_k, k.end);
      const StagePiece piece{.src = first_of(operand, l, d),
                             .row_bytes = row_bytes(x.dtype, x.stride),
                             .dtype = x.dtype,
                             .rows = along ? l.size() : d.size(),
                             .cols = along ? d.size() : l.size()};
      const DType readable = stage_piece(piece, operand.integers, stage, stage_run);
      operand.packer(readable)({.src = stage,
                                .stride = stage_run,
                                .lines = l.size(),
                                .k = d.size(),
                                .dst = dst + (line - lines.begin) / operand.width * operand.panel +
                                       (deep - k.begin) / operand.k_per_word * operand.width,
                                .panel_stride = operand.panel});
    }
}

}  // namespace

void pack_operand(const PackedOperand& operand, Range lines, Range k, std::uint32_t* dst, std::uint32_t* stage) {
  const GemmMatrix& x = operand.matrix;
  const PackFn packer = operand.packer(x.dtype);
  if (packer == nullptr) return pack_staged(operand, lines, k, dst, stage);
  packer({.src = first_of(operand, lines, k),
          .stride = x.stride,
          .lines = lines.size(),
          .k = k.size(),
          .dst = dst,
          .panel_stride = operand.panel,
          .k_scales = operand.k_scales == nullptr ? nullptr : operand.k_scales + k.begin});
}

}  // namespace bittern::cpu
