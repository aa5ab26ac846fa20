#include "ops/cpu/gemv.h"

#include <algorithm>

#include "bittern/error.h"
#include "ops/cpu/gemm_kernels.h"
#include "ops/cpu/parallel.h"

namespace bittern::cpu {
namespace {

constexpr std::int64_t most_rows = 8;
constexpr std::int64_t most_words = 1 << 20;   // of A: what gemm's workspace has room for
constexpr std::int64_t part_bytes = 64 << 10;  // of B: some microseconds of a core
constexpr std::int64_t most_lanes = 16;

std::int64_t round_up(std::int64_t x, std::int64_t step) {
  return (x + step - 1) / step * step;
}

std::size_t storage(DType dtype) {
  return static_cast<std::size_t>(dtype == DType::f32 ? Storage::f32 : Storage::bf16);
}

}  // namespace

bool gemv_takes(std::int64_t m, std::int64_t k) {
  return m <= most_rows && m * round_up(k, most_lanes) <= most_words;
}

void gemv(const GemmArgs& g) {
  check(gemv_takes(g.m, g.k), "gemv: m {} and k {} are too large", g.m, g.k);
  check(!g.a.transposed && g.b.transposed && !g.accumulate && g.alpha == 1.0f,
        "gemv: A must not be transposed, B must be; neither accumulate nor alpha");
  const GemmKernels& kernels = gemm_kernels(isa(), g.compute);
  auto* const a = static_cast<std::uint32_t*>(g.workspace);
  const std::int64_t a_stride = round_up(g.k, most_lanes * kernels.k_per_word) / kernels.k_per_word;
  kernels.widen[storage(g.a.dtype)](
      {.src = g.a.data, .stride = g.a.stride, .lines = g.m, .k = g.k, .dst = a, .panel_stride = a_stride});

  const std::int64_t row_bytes = std::max<std::int64_t>(1, g.k * size_of(g.b.dtype));
  const std::int64_t part_columns = std::max(most_lanes, part_bytes / row_bytes / most_lanes * most_lanes);
  parallel_for((g.n + part_columns - 1) / part_columns, [&](std::int64_t part) {
    const std::int64_t first = part * part_columns;
    kernels.gemv[storage(g.b.dtype)]({
        .a = a,
        .a_stride = a_stride,
        .rows = g.m,
        .b = static_cast<const char*>(g.b.data) + first * g.b.stride * size_of(g.b.dtype),
        .b_stride = g.b.stride,
        .cols = std::min(part_columns, g.n - first),
        .k = g.k,
        .c = static_cast<char*>(g.c) + first * size_of(g.c_dtype),
        .c_dtype = g.c_dtype,
        .c_stride = g.c_stride,
        .bias = g.bias == nullptr ? nullptr : g.bias + first,
    });
  });
}

}  // namespace bittern::cpu
