// The loops of the product of a few rows of A with B: cuts the columns of C into parts, decodes codes, and calls the kernels.
#include "ops/cpu/gemm/gemv.h"

#include <algorithm>

#include "bittern/error.h"
#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm/gemm_kernels.h"
#include "ops/cpu/gemm/gemm_stage.h"
#include "ops/cpu/machine/multiples.h"
#include "ops/cpu/machine/parallel.h"

namespace bittern::cpu {
namespace {

constexpr std::int64_t most_rows = 8;
constexpr std::int64_t most_words = 1 << 20;   // of A: what gemm's workspace has room for
constexpr std::int64_t part_bytes = 64 << 10;  // of B: some microseconds of a core
constexpr std::int64_t most_lanes = 16;
constexpr std::int64_t most_staged = 128 << 10;  // codes that a thread decodes at a time, behind A in the workspace

std::size_t storage(DType dtype) {
  return static_cast<std::size_t>(storage_of(dtype));
}

/// The matrix from stored row `first` on.
GemmMatrix rows_from(const GemmMatrix& x, std::int64_t first) {
  GemmMatrix rest = x;
  rest.data = static_cast<const char*>(x.data) + first * row_bytes(x.dtype, x.stride);
  return rest;
}

/// The first `rows` stored rows of codes, as `stage` holds them then.
GemmMatrix decoded(const GemmMatrix& codes, std::int64_t rows, std::int64_t k, bool integers, void* stage) {
  const StagePiece piece{.src = codes.data,
                         .row_bytes = row_bytes(codes.dtype, codes.stride),
                         .dtype = codes.dtype,
                         .rows = rows,
                         .cols = k};
  const DType readable = stage_piece(piece, integers, stage, k);
  return {.data = stage, .dtype = readable, .stride = k, .transposed = codes.transposed};
}

}  // namespace

bool gemv_takes(std::int64_t m, std::int64_t k) {
  return m <= most_rows && k <= most_staged && m * round_up(k, most_lanes) <= most_words;
}

void gemv(const GemmArgs& g) {
  check(gemv_takes(g.m, g.k), "gemv: m {} and k {} are too large", g.m, g.k);
  check(!g.a.transposed && g.b.transposed && !g.accumulate && g.alpha == 1.0f,
        "gemv: A must not be transposed, B must be; neither accumulate nor alpha");
  const bool integers = multiplies_integers(g);
  const GemmKernels& kernels = integers ? gemm_int8_kernels(isa(), Int8Dot::widened) : gemm_kernels(isa(), g.compute);
  auto* const a = static_cast<std::uint32_t*>(g.workspace);
  const std::int64_t a_stride = round_up(g.k, most_lanes * kernels.k_per_word) / kernels.k_per_word;
  const auto stage = [&](int worker) { return reinterpret_cast<bf16*>(a + most_words) + worker * most_staged; };
  for (std::int64_t row = 0; row < g.m; ++row) {
    const GemmMatrix stored = rows_from(g.a, row);
    const GemmMatrix readable =
        kernels.widen[storage(g.a.dtype)] == nullptr ? decoded(stored, 1, g.k, integers, stage(0)) : stored;
    kernels.widen[storage(readable.dtype)]({.src = readable.data,
                                            .stride = readable.stride,
                                            .lines = 1,
                                            .k = g.k,
                                            .dst = a + row * a_stride,
                                            .panel_stride = a_stride});
  }

  const std::int64_t row = std::max<std::int64_t>(1, row_bytes(g.b.dtype, g.k));
  const std::int64_t part_columns = std::max(most_lanes, part_bytes / row / most_lanes * most_lanes);
  const std::int64_t staged_columns =
      std::clamp<std::int64_t>(most_staged / std::max<std::int64_t>(1, g.k), 1, most_lanes);
  const auto columns = [&](const GemmMatrix& b, std::int64_t first, std::int64_t count) {
    kernels.gemv[storage(b.dtype)]({
        .a = a,
        .a_stride = a_stride,
        .rows = g.m,
        .b = b.data,
        .b_stride = b.stride,
        .cols = count,
        .k = g.k,
        .c = static_cast<char*>(g.c) + first * size_of(g.c_dtype),
        .c_dtype = g.c_dtype,
        .c_stride = g.c_stride,
        .bias = g.bias == nullptr ? nullptr : g.bias + first,
        .row_scales = g.a.scales,
        .col_scales = g.b.scales == nullptr ? nullptr : g.b.scales + first,
    });
  };
  parallel_for(ceil_div(g.n, part_columns), [&](std::int64_t part, int worker) {
    const std::int64_t first = part * part_columns, last = std::min(g.n, first + part_columns);
    if (kernels.gemv[storage(g.b.dtype)] != nullptr) return columns(rows_from(g.b, first), first, last - first);
    for (std::int64_t col = first; col < last; col += staged_columns) {
      const std::int64_t count = std::min(staged_columns, last - col);
      columns(decoded(rows_from(g.b, col), count, g.k, integers, stage(worker)), col, count);
    }
  });
}

}  // namespace bittern::cpu
