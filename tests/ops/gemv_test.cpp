// That gemv's products are right is in the table of linear's cases; here, that their bits depend on nothing they should
// not depend on.
#include "ops/cpu/gemv.h"

#include <vector>

#include "ops/cpu.h"
#include "ops/cpu/parallel.h"

using namespace bittern;
using namespace bittern::cpu;

namespace {

constexpr std::int64_t m = 8, n = 403, k = 333;

struct Operands {
  explicit Operands(Backend& backend)
      : a(backend, DType::bf16, m, k, noise(1, m * k)),
        b(backend, DType::bf16, n, k, noise(2, n * k)),
        wide_b(backend, DType::bf16, n, k, noise(2, n * k), 7),
        bias(backend, DType::f32, 1, n, noise(3, n)),
        workspace(backend, DType::f32, 1, gemm_workspace_bytes(8) / 4) {}
  const Array a, b, wide_b, bias, workspace;
};

/// Rows [row, row + rows) and columns [col, col + cols) of C.
GemmArgs product(const Operands& in, const Array& b, const Array& c, std::int64_t row, std::int64_t rows,
                 std::int64_t col, std::int64_t cols, DType compute) {
  const Tensor a = in.a.tensor().slice_rows(row, rows), rows_of_b = b.tensor().slice_rows(col, cols);
  return {.m = rows,
          .n = cols,
          .k = k,
          .a = {a.data, a.dtype, a.row_stride, false},
          .b = {rows_of_b.data, rows_of_b.dtype, rows_of_b.row_stride, true},
          .c = c.tensor().as<float>() + row * n + col,
          .c_dtype = DType::f32,
          .c_stride = n,
          .accumulate = false,
          .bias = in.bias.tensor().as<float>() + col,
          .compute = compute,
          .workspace = in.workspace.tensor().data};
}

}  // namespace

TEST_CASE("gemv: bits depend neither on threads nor on strides nor on the company of rows and columns") {
  const auto backend = make_cpu_backend(1);
  const Operands in(*backend);
  const Isa before = isa();
  for (const Isa isa : available_isas())
    for (const DType compute : acts) {
      INFO("instruction set " << name(isa) << ", compute " << name(compute));
      set_isa(isa);
      set_thread_count(1);
      const Array whole(*backend, DType::f32, m, n), parts(*backend, DType::f32, m, n);
      gemv(product(in, in.b, whole, 0, m, 0, n, compute));
      set_thread_count(8);
      std::int64_t row = 0;
      for (const std::int64_t rows : {1, 2, 5}) {
        std::int64_t col = 0;
        for (const std::int64_t cols : {1, 30, 372}) {
          gemv(product(in, in.wide_b, parts, row, rows, col, cols, compute));
          col += cols;
        }
        row += rows;
      }
      CHECK(same_bits(whole.values(), parts.values()));
    }
  set_isa(before);
  set_thread_count(0);
}

TEST_CASE("gemv takes few rows, at any k that gemm's workspace has room for") {
  CHECK(gemv_takes(0, 10));
  CHECK(gemv_takes(8, 100000));
  CHECK_FALSE(gemv_takes(9, 10));
  CHECK_FALSE(gemv_takes(8, 1 << 20));
}

TEST_CASE("gemv refuses what it would not compute") {
  const auto backend = make_cpu_backend(1);
  const Operands in(*backend);
  const Array c(*backend, DType::f32, m, n);
  const GemmArgs fine = product(in, in.b, c, 0, m, 0, n, DType::f32);
  GemmArgs args = fine;
  args.m = 9;
  CHECK_THROWS_WITH(gemv(args), "gemv: m 9 and k 333 are too large");
  for (const auto change : {+[](GemmArgs& g) { g.a.transposed = true; }, +[](GemmArgs& g) { g.b.transposed = false; },
                            +[](GemmArgs& g) { g.accumulate = true; }, +[](GemmArgs& g) { g.alpha = 2.0f; }}) {
    args = fine;
    change(args);
    CHECK_THROWS_WITH(gemv(args), "gemv: A must not be transposed, B must be; neither accumulate nor alpha");
  }
}
