// attention_cached: attention for generation. The keys and values of the new rows are appended to the caches (T_max,
// KV*D), then each new row attends to the positions that it sees.
//   overwrites out (rows, H*D) and rows first_position .. first_position + rows - 1 of the caches
//   reads      the rows of the caches before them
// A prompt goes through the tiles of the forward pass, a few rows through the matrix-vector kernel.
#include <algorithm>
#include <cstring>

#include "ops/cpu/attention/attention.h"
#include "ops/cpu/attention/attention_parts.h"

namespace bittern::cpu {

using namespace attention;

namespace {

// From here on tiles are faster though many of their lanes are empty (tests/bench/attention_bench).
constexpr std::int64_t rows_for_tiles = 12;

struct Cached {
  const AttentionCached& args;
  std::int64_t rows, group;
  const Kernels& kernels;
  ScoreMath math;

  void through_tiles(std::byte* workspace) const {
    const AttentionShape& shape = args.shape;
    const std::int64_t D = shape.head_dim;
    const Units units = units_of(shape.kv_heads, group, rows, kernels.lanes);
    const std::int64_t bytes = scratch_bytes<ForwardScratch>(kernels.lanes, D, units.panels);
    for_all_units(1, shape.kv_heads, units, [&](std::int64_t, std::int64_t kv, std::int64_t unit, int worker) {
      Carver carve{workspace + worker * bytes};
      const ForwardScratch scratch(carve, kernels.lanes, D, units.panels);
      const std::int64_t first = units.first_row(unit), head = kv * group + units.first_head(unit);
      kernels.forward({.q = at(args.qkv, 0, head * D),
                       .k = at(args.k_cache, 0, kv * D),
                       .v = at(args.v_cache, 0, kv * D),
                       .out = at(args.out, 0, head * D),
                       .lse = nullptr,
                       .q_stride = args.qkv.row_stride,
                       .k_stride = args.k_cache.row_stride,
                       .v_stride = args.v_cache.row_stride,
                       .out_stride = args.out.row_stride,
                       .lse_stride = 0,
                       .head_dim = D,
                       .heads = units.heads(unit),
                       .first_row = first,
                       .rows = std::min(units.rows, rows - first),
                       .position = args.first_position,
                       .math = math},
                      scratch);
    });
  }

  void row_by_row(std::byte* workspace) const {
    const AttentionShape& shape = args.shape;
    const std::int64_t D = shape.head_dim;
    const std::int64_t bytes = scratch_bytes<DecodeScratch>(kernels.lanes, D, group);
    parallel_for(rows * shape.kv_heads, [&](std::int64_t part, int worker) {
      Carver carve{workspace + worker * bytes};
      const DecodeScratch scratch(carve, kernels.lanes, D, group);
      const std::int64_t row = part / shape.kv_heads, kv = part % shape.kv_heads;
      const std::int64_t position = args.first_position + row,
                         first = std::max(position + 1 - math.window, std::int64_t{0});
      kernels.decode({.q = at(args.qkv, row, kv * group * D),
                      .k = at(args.k_cache, first, kv * D),
                      .v = at(args.v_cache, first, kv * D),
                      .out = at(args.out, row, kv * group * D),
                      .k_stride = args.k_cache.row_stride,
                      .v_stride = args.v_cache.row_stride,
                      .head_dim = D,
                      .heads = group,
                      .keys = position + 1 - first,
                      .math = math},
                     scratch);
    });
  }
};

}  // namespace

void attention_cached(const AttentionCached& args, void* workspace) {
  const AttentionShape& shape = args.shape;
  const std::int64_t D = shape.head_dim, rows = args.qkv.rows(), kv_cols = shape.kv_heads * D;
  const auto bytes = static_cast<std::size_t>(kv_cols * size_of(args.qkv.dtype));
  for (std::int64_t row = 0; row < rows; ++row) {
    std::memcpy(at(args.k_cache, args.first_position + row, 0), at(args.qkv, row, shape.heads * D), bytes);
    std::memcpy(at(args.v_cache, args.first_position + row, 0), at(args.qkv, row, shape.heads * D + kv_cols), bytes);
  }
  const Kernels kernels = kernels_for(args.qkv.dtype);
  const Cached cached{args, rows, shape.heads / shape.kv_heads, kernels, ScoreMath(args.scores, D)};
  auto* const memory = static_cast<std::byte*>(workspace);
  if (rows >= rows_for_tiles)
    cached.through_tiles(memory);
  else
    cached.row_by_row(memory);
}

}  // namespace bittern::cpu
