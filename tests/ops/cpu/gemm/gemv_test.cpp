// gemv against double precision, and that its bits depend on nothing they should not depend on. Products of codes are in
// the table of linear's cases and in gemm_int8_test.
#include "ops/cpu/gemm/gemv.h"

#include <utility>

#include "ops/cpu.h"
#include "ops/cpu/gemm/gemm_workspace.h"

using namespace bittern;
using namespace bittern::cpu;

namespace {

constexpr std::int64_t m = 8, n = 403, k = 333;

struct Operands {
  explicit Operands(Backend& backend)
      : a(backend, DType::bf16, m, k, noise(1, m * k)),
        b(backend, DType::bf16, n, k, noise(2, n * k)),
        wide_b(backend, DType::bf16, n, k, noise(2, n * k), 7),
        bias(backend, DType::f32, 1, n, noise(3, n)) {}
  const Array a, b, wide_b, bias;
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
          .workspace = shared_gemm_workspace()};
}

}  // namespace

TEST_CASE("gemv: every size up to 65 of n or k, with the other odd, of every storage and compute type") {
  const auto backend = make_cpu_backend(1);
  for (std::int64_t s = 1; s <= 65; ++s)
    for (const auto& [cols, depth] : {std::pair{s, std::int64_t{37}}, {std::int64_t{19}, s}})
      for (int bits = 0; bits < 8; ++bits) {
        const auto dtype = [&](std::int64_t bit) { return (bits >> bit & 1) != 0 ? DType::bf16 : DType::f32; };
        const std::int64_t rows = 1 + (s + bits) % 8, n_cols = cols, n_deep = depth;
        const DType compute = dtype(2), c_dtype = dtype(s % 3);
        const Array a(*backend, dtype(0), rows, n_deep, noise(1, rows * n_deep), bits),
            b(*backend, dtype(1), n_cols, n_deep, noise(2, n_cols * n_deep), bits / 2),
            bias(*backend, DType::f32, 1, n_cols, noise(3, n_cols));
        const auto operands = [&](const Array& x) {
          Values values = x.values();
          if (compute == DType::bf16)
            for (double& value : values) value = to_float(to_bf16(static_cast<float>(value)));
          return values;
        };
        const Values x = operands(a), y = operands(b), added = bias.values();
        Values expected;
        for (std::int64_t i = 0; i < rows; ++i)
          for (std::int64_t j = 0; j < n_cols; ++j) {
            double sum = added[static_cast<std::size_t>(j)];
            for (std::int64_t k_at = 0; k_at < n_deep; ++k_at)
              sum += x[static_cast<std::size_t>(i * n_deep + k_at)] * y[static_cast<std::size_t>(j * n_deep + k_at)];
            expected.push_back(sum);
          }
        const auto text = fmt::format("m {} n {} k {} a {} b {} c {} compute {}", rows, n_cols, n_deep, name(dtype(0)),
                                      name(dtype(1)), name(c_dtype), name(compute));
        on_every_isa([&] {
          const Array c(*backend, c_dtype, rows, n_cols, {}, 3);
          gemv({.m = rows,
                .n = n_cols,
                .k = n_deep,
                .a = {a.tensor().data, a.tensor().dtype, a.tensor().row_stride, false},
                .b = {b.tensor().data, b.tensor().dtype, b.tensor().row_stride, true},
                .c = c.tensor().data,
                .c_dtype = c_dtype,
                .c_stride = c.tensor().row_stride,
                .accumulate = false,
                .bias = bias.tensor().as<float>(),
                .compute = compute,
                .workspace = shared_gemm_workspace()});
          check_outputs(text, {output("c", c, expected, 4.0)});
        });
      }
}

TEST_CASE("gemv: bits depend neither on threads nor on strides nor on the company of rows and columns") {
  const auto backend = make_cpu_backend(1);
  const Operands in(*backend);
  on_every_isa([&] {
    for (const DType compute : acts) {
      INFO("compute " << name(compute));
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
  });
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
