// gemm against double precision, in every instruction set, storage, compute type and form.
#include "ops/cpu/gemm/gemm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "bittern/error.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/philox.h"
#include "catch.h"
#include "ops/cpu/gemm/gemm_workspace.h"
#include "ops/cpu/machine/cpu_features.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/every_isa.h"

using namespace bittern;
using namespace bittern::cpu;

namespace {

/// A stored matrix of f32 or bf16 with a leading dimension; whatever lies between the rows is NaN.
struct Matrix {
  Matrix(std::int64_t rows_, std::int64_t cols_, std::int64_t stride_, DType dtype_, std::uint32_t seed)
      : rows(rows_), cols(cols_), stride(stride_), dtype(dtype_) {
    const std::size_t size = static_cast<std::size_t>(std::max<std::int64_t>(1, rows * stride));
    f.assign(size, std::numeric_limits<float>::quiet_NaN());
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < cols; ++j) {
        const std::uint32_t word =
            philox(philox_key(seed, Purpose::test), static_cast<std::uint64_t>(i * cols + j), 0, 0);
        set(i, j, 2.0f * uniform(word) - 1.0f);
      }
    if (dtype == DType::bf16) {
      h.resize(size);
      for (std::size_t i = 0; i < size; ++i) h[i] = to_bf16(f[i]);
    }
  }
  std::size_t at(std::int64_t i, std::int64_t j) const { return static_cast<std::size_t>(i * stride + j); }
  float get(std::int64_t i, std::int64_t j) const { return dtype == DType::f32 ? f[at(i, j)] : to_float(h[at(i, j)]); }
  void set(std::int64_t i, std::int64_t j, float x) {
    f[at(i, j)] = x;
    if (!h.empty()) h[at(i, j)] = to_bf16(x);
  }
  void* data() { return dtype == DType::f32 ? static_cast<void*>(f.data()) : h.data(); }
  const void* data() const { return dtype == DType::f32 ? static_cast<const void*>(f.data()) : h.data(); }
  std::string bytes() const {
    const std::size_t count = f.size() * static_cast<std::size_t>(size_of(dtype));
    return std::string(static_cast<const char*>(data()), count);
  }

  std::int64_t rows, cols, stride;
  DType dtype;
  std::vector<float> f;
  std::vector<bf16> h;
};

struct Case {
  std::int64_t m, n, k;
  bool a_transposed = false, b_transposed = false;
  DType a = DType::f32, b = DType::f32, c = DType::f32, compute = DType::f32;
  bool accumulate = false, bias = false;
  float alpha = 1.0f;
  std::int64_t padding = 0;  // of every leading dimension
};

std::string text(const Case& t) {
  return fmt::format("{} m {} n {} k {} {}{} a {} b {} c {} compute {} accumulate {} bias {} alpha {} padding {}",
                     name(isa()), t.m, t.n, t.k, t.a_transposed ? 'T' : 'N', t.b_transposed ? 'T' : 'N', name(t.a),
                     name(t.b), name(t.c), name(t.compute), t.accumulate, t.bias, t.alpha, t.padding);
}

/// A case's operands, and its result after run().
struct Problem {
  explicit Problem(const Case& t_)
      : t(t_),
        a(t.a_transposed ? t.k : t.m, t.a_transposed ? t.m : t.k, (t.a_transposed ? t.m : t.k) + t.padding, t.a, 1),
        b(t.b_transposed ? t.n : t.k, t.b_transposed ? t.k : t.n, (t.b_transposed ? t.k : t.n) + t.padding, t.b, 2),
        c(t.m, t.n, t.n + t.padding, t.c, 3),
        before(c),
        bias(1, t.n, t.n, DType::f32, 4) {}

  GemmArgs args(void* workspace) {
    return GemmArgs{.m = t.m,
                    .n = t.n,
                    .k = t.k,
                    .a = {a.data(), t.a, a.stride, t.a_transposed},
                    .b = {b.data(), t.b, b.stride, t.b_transposed},
                    .c = c.data(),
                    .c_dtype = t.c,
                    .c_stride = c.stride,
                    .accumulate = t.accumulate,
                    .bias = t.bias ? bias.f.data() : nullptr,
                    .compute = t.compute,
                    .workspace = workspace,
                    .alpha = t.alpha};
  }
  void run() { gemm(args(shared_gemm_workspace())); }
  void run_serial() { gemm_serial(args(serial_gemm_workspace())); }

  float operand(float x) const { return t.compute == DType::bf16 ? to_float(to_bf16(x)) : x; }

  /// The first wrong element of C, or nothing. The bound is that of a sum of k rounded products, and of one rounding to
  /// C.
  std::string first_wrong(std::int64_t sampled = 1) const {
    for (std::int64_t i = 0; i < t.m; ++i)
      for (std::int64_t j = i % sampled; j < t.n; j += sampled) {
        double sum = 0.0, size = 0.0;
        for (std::int64_t p = 0; p < t.k; ++p) {
          const double x = operand(t.a_transposed ? a.get(p, i) : a.get(i, p));
          const double y = operand(t.b_transposed ? b.get(j, p) : b.get(p, j));
          sum += x * y;
          size += std::abs(x * y);
        }
        sum *= t.alpha;
        size = size * std::abs(t.alpha);
        if (t.accumulate) sum += before.get(i, j), size += std::abs(before.get(i, j));
        if (t.bias) sum += bias.get(0, j), size += std::abs(bias.get(0, j));
        const double got = c.get(i, j);
        const double rounding = t.c == DType::bf16 ? 0x1p-8 * std::abs(sum) : 0.0;
        const double bound = 0x1p-24 * (8.0 + std::sqrt(static_cast<double>(t.k))) * size * 2.0 + rounding;
        if (!(std::abs(got - sum) <= bound))
          return fmt::format("C({},{}) is {}, expected {} +- {}", i, j, got, sum, bound);
      }
    for (std::int64_t i = 0; i < t.m; ++i)
      for (std::int64_t j = t.n; j < c.stride; ++j)
        if (!std::isnan(c.get(i, j))) return fmt::format("C({},{}) lies outside and was written", i, j);
    return "";
  }

  Case t;
  Matrix a, b, c, before, bias;
};

void expect_right(const Case& t, std::int64_t sampled = 1) {
  Problem whole(t), tile(t);
  whole.run();
  INFO(text(t));
  REQUIRE(whole.first_wrong(sampled) == "");
  tile.run_serial();
  REQUIRE((whole.c.bytes() == tile.c.bytes()));
}

constexpr DType dtypes[] = {DType::f32, DType::bf16};

}  // namespace

TEST_CASE("gemm: every size up to 65 in one dimension, with the others odd, in every form and instruction set") {
  on_every_isa([&] {
    set_thread_count(2);
    for (std::int64_t s = 1; s <= 65; ++s)
      for (const DType compute : dtypes)
        for (int form = 0; form < 4; ++form) {
          const bool ta = form & 1, tb = form & 2;
          expect_right(
              {.m = s, .n = 19, .k = 7, .a_transposed = ta, .b_transposed = tb, .compute = compute, .padding = 3});
          expect_right(
              {.m = 9, .n = s, .k = 5, .a_transposed = ta, .b_transposed = tb, .compute = compute, .padding = 1});
          expect_right({.m = 15, .n = 17, .k = s, .a_transposed = ta, .b_transposed = tb, .compute = compute});
        }
  });
}

TEST_CASE("gemm: every storage of A, B and C with every compute type, form, accumulation, bias and alpha") {
  on_every_isa([&] {
    set_thread_count(2);
    for (int bits = 0; bits < 512; ++bits) {
      const auto bit = [&](int i) { return (bits >> i & 1) != 0; };
      const auto dtype = [&](int i) { return bit(i) ? DType::bf16 : DType::f32; };
      expect_right({.m = 31,
                    .n = 45,
                    .k = 37,
                    .a_transposed = bit(0),
                    .b_transposed = bit(1),
                    .a = dtype(2),
                    .b = dtype(3),
                    .c = dtype(4),
                    .compute = dtype(5),
                    .accumulate = bit(6),
                    .bias = bit(7),
                    .alpha = bit(8) ? 0.125f : 1.0f,
                    .padding = bits % 5});
    }
  });
}

TEST_CASE("gemm: several blocks of k, n and m, odd sizes") {
  on_every_isa([&] {
    set_thread_count(2);
    for (const DType compute : dtypes)
      for (const DType c : dtypes) {
        expect_right({.m = 67,
                      .n = 131,
                      .k = 4099,
                      .b_transposed = true,
                      .a = DType::bf16,
                      .c = c,
                      .compute = compute,
                      .accumulate = true,
                      .bias = true,
                      .alpha = 0.5f},
                     37);
        expect_right({.m = 131, .n = 67, .k = 2051, .a_transposed = true, .b = DType::bf16, .c = c, .compute = compute},
                     37);
        expect_right({.m = 5, .n = 9001, .k = 257, .c = c, .compute = compute, .accumulate = true, .padding = 7}, 1001);
        expect_right({.m = 1501,
                      .n = 33,
                      .k = 65,
                      .a_transposed = true,
                      .b_transposed = true,
                      .a = DType::bf16,
                      .b = DType::bf16,
                      .c = c,
                      .compute = compute},
                     17);
      }
    // C cannot hold the sums between blocks of k: they stand apart, for as many rows and columns as there is room for.
    for (const DType compute : dtypes)
      expect_right({.m = 401,
                    .n = 3001,
                    .k = 801,
                    .b_transposed = true,
                    .b = compute,
                    .c = DType::bf16,
                    .compute = compute,
                    .accumulate = true,
                    .bias = true,
                    .padding = 3},
                   997);
  });
}

TEST_CASE("gemm: rows of A that lie a power of two apart, and many columns") {
  on_every_isa([&] {
    for (const DType dtype : dtypes)
      for (const std::int64_t n : {31, 545})
        for (const std::int64_t padding : {0, 1})
          expect_right({.m = 45, .n = n, .k = 1024, .a = dtype, .c = dtype, .compute = dtype, .padding = padding}, 29);
  });
}

TEST_CASE("gemm: the number of threads does not change a bit") {
  const Case cases[] = {
      {.m = 203,
       .n = 331,
       .k = 515,
       .b_transposed = true,
       .a = DType::bf16,
       .c = DType::bf16,
       .compute = DType::bf16,
       .bias = true},
      {.m = 333,
       .n = 97,
       .k = 2049,
       .a_transposed = true,
       .a = DType::bf16,
       .b = DType::bf16,
       .compute = DType::bf16,
       .accumulate = true},
      {.m = 45, .n = 1003, .k = 2100, .c = DType::bf16},
      {.m = 1, .n = 70, .k = 3},
  };
  on_every_isa([&] {
    for (const Case& t : cases) {
      std::string expected;
      for (const int threads : {1, 2, 3, 8}) {
        set_thread_count(threads);
        Problem problem(t);
        problem.run();
        if (threads == 1) expected = problem.c.bytes();
        INFO(text(t) << " threads " << threads);
        REQUIRE((problem.c.bytes() == expected));
      }
    }
  });
}

TEST_CASE("gemm: a slice of the rows or columns has the bits of the whole") {
  on_every_isa([&] {
    const Case t{.m = 150, .n = 210, .k = 2300, .b_transposed = true, .compute = DType::bf16};
    Problem whole(t), slices(t);
    whole.run();
    GemmArgs part = slices.args(shared_gemm_workspace());
    part.m = 61;
    gemm(part);
    part.m = t.m - 61;
    part.a.data = slices.a.f.data() + 61 * slices.a.stride;
    part.c = slices.c.f.data() + 61 * slices.c.stride;
    part.n = 101;
    gemm(part);
    part.n = t.n - 101;
    part.b.data = slices.b.f.data() + 101 * slices.b.stride;
    part.c = slices.c.f.data() + 61 * slices.c.stride + 101;
    gemm(part);
    REQUIRE((whole.c.bytes() == slices.c.bytes()));
  });
}

TEST_CASE(
    "gemm: bf16 compute of f32 operands equals f32 compute of operands rounded beforehand, to the rounding of the "
    "sum") {
  on_every_isa([&] {
    Problem from_f32({.m = 40, .n = 50, .k = 60, .compute = DType::bf16});
    Problem from_bf16({.m = 40, .n = 50, .k = 60, .a = DType::bf16, .b = DType::bf16, .compute = DType::bf16});
    from_f32.run();
    from_bf16.run();
    REQUIRE((from_f32.c.bytes() == from_bf16.c.bytes()));
  });
}

TEST_CASE("gemm: AMX sums 32 of k at a time, the even and the odd ones apart, then adds both to the sum") {
  on_every_isa([&] {
    if (isa() != Isa::amx_bf16) return;
    Problem problem({.m = 21, .n = 37, .k = 75, .a = DType::bf16, .b = DType::bf16, .compute = DType::bf16});
    problem.run();
    for (std::int64_t i = 0; i < 21; ++i)
      for (std::int64_t j = 0; j < 37; ++j) {
        float sum = 0.0f;
        for (std::int64_t first = 0; first < 75; first += 32) {
          float chains[2] = {};
          for (std::int64_t p = first; p < std::min<std::int64_t>(75, first + 32); ++p)
            chains[p % 2] = std::fma(problem.a.get(i, p), problem.b.get(p, j), chains[p % 2]);
          sum += chains[0] + chains[1];
        }
        REQUIRE(problem.c.get(i, j) == sum);
      }
  });
}

TEST_CASE("gemm: ties round to even in every packer") {
  on_every_isa([&] {
    for (int form = 0; form < 4; ++form) {
      Problem problem({.m = 40,
                       .n = 40,
                       .k = 40,
                       .a_transposed = (form & 1) != 0,
                       .b_transposed = (form & 2) != 0,
                       .compute = DType::bf16});
      // A = ties of both kinds on the diagonal, B = 1: C shows what each became.
      for (std::int64_t i = 0; i < 40; ++i)
        for (std::int64_t j = 0; j < 40; ++j) {
          problem.a.set(i, j, i == j ? bits_float(0x3f808000u + (static_cast<std::uint32_t>(i) << 16)) : 0.0f);
          problem.b.set(i, j, 1.0f);
        }
      problem.run();
      for (std::int64_t i = 0; i < 40; ++i)
        REQUIRE(problem.c.get(i, 7) ==
                to_float(to_bf16(bits_float(0x3f808000u + (static_cast<std::uint32_t>(i) << 16)))));
    }
  });
}

TEST_CASE("gemm: NaN and infinity reach exactly the row or column they belong to") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  on_every_isa([&] {
    for (const DType compute : dtypes)
      for (const DType c : dtypes)
        for (const std::int64_t k : {1, 33, 64}) {
          Problem problem({.m = 29, .n = 43, .k = k, .b_transposed = true, .c = c, .compute = compute});
          for (std::int64_t j = 0; j < 43; ++j) problem.b.set(j, k - 1, 1.0f);
          problem.a.set(3, k - 1, nan);
          problem.a.set(28, k - 1, inf);
          problem.b.set(41, 0, nan);
          problem.run();
          for (std::int64_t i = 0; i < 29; ++i)
            for (std::int64_t j = 0; j < 43; ++j) {
              const float x = problem.c.get(i, j);
              if (i == 3 || j == 41)
                REQUIRE(std::isnan(x));
              else if (i == 28)
                REQUIRE(x == inf);
              else
                REQUIRE(std::isfinite(x));
            }
        }
  });
}

TEST_CASE("gemm: without k, C is zero, or the bias, or unchanged; without rows or columns nothing happens") {
  on_every_isa([&] {
    for (const DType c : dtypes)
      for (const bool accumulate : {false, true})
        for (const bool bias : {false, true})
          expect_right({.m = 5, .n = 37, .k = 0, .c = c, .accumulate = accumulate, .bias = bias, .padding = 2});
    expect_right({.m = 0, .n = 5, .k = 5});
    expect_right({.m = 5, .n = 0, .k = 5});
  });
}

TEST_CASE("gemm: an impossible call is a clear error") {
  Problem problem({.m = 2, .n = 2, .k = 2});
  GemmArgs args = problem.args(shared_gemm_workspace());
  args.compute = DType::i32;
  CHECK_THROWS_AS(gemm(args), Error);
  args.compute = DType::f32;
  args.m = -1;
  CHECK_THROWS_AS(gemm(args), Error);
}
