// Products of integers against plain integer arithmetic: equal, bit for bit, however they are computed.
#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "bittern/error.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/packing.h"
#include "bittern/quant/philox.h"
#include "catch.h"
#include "ops/cpu/gemm/gemm.h"
#include "ops/cpu/gemm/gemm_workspace.h"
#include "ops/cpu/gemm/gemv.h"
#include "ops/cpu/machine/cpu_features.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/every_isa.h"

using namespace bittern;
using namespace bittern::cpu;

namespace {

constexpr DType integer_types[] = {DType::i8, DType::i7, DType::i6, DType::i5, DType::i4, DType::i3, DType::i2};

/// body() in every instruction set with every way to sum.
template <class Body>
void in_every_way(const Body& body) {
  constexpr const char* names[] = {"widened", "vnni", "amx"};
  on_every_isa([&] {
    for (const Int8Dot dot : available_int8_dots()) {
      force_int8_dot(dot);
      INFO(names[static_cast<int>(dot)]);
      body();
    }
  });
}

/// Rows of integers with a scale each.
struct Codes {
  Codes(std::int64_t rows_, std::int64_t cols_, DType dtype_, std::int64_t gap = 0)
      : rows(rows_),
        cols(cols_),
        stride(cols_ + gap),
        dtype(dtype_),
        levels(static_cast<std::size_t>(rows * cols)),
        bytes(static_cast<std::size_t>(rows * row_bytes(dtype, stride)), 0x55),
        scales(static_cast<std::size_t>(rows)) {}
  Codes& random(std::uint32_t seed) {
    const int range = 1 << bits_of(dtype);
    for (std::size_t i = 0; i < levels.size(); ++i)
      levels[i] =
          static_cast<int>(philox(philox_key(seed, Purpose::test), i, 0, 0) % static_cast<unsigned>(range)) - range / 2;
    return encode();
  }
  Codes& all(int level) {
    std::fill(levels.begin(), levels.end(), level);
    return encode();
  }
  Codes& encode() {
    std::vector<std::uint8_t> row(static_cast<std::size_t>(cols));
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < cols; ++i)
        row[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(level(r, i) & ((1 << bits_of(dtype)) - 1));
      pack_codes(bits_of(dtype), row.data(), 0, cols, bytes.data() + r * row_bytes(dtype, stride));
      scales[static_cast<std::size_t>(r)] = 0.01f + 0.37f * static_cast<float>(r % 11);
    }
    return *this;
  }
  int level(std::int64_t row, std::int64_t i) const { return levels[static_cast<std::size_t>(row * cols + i)]; }
  GemmMatrix matrix(bool transposed) const {
    return {.data = bytes.data(), .dtype = dtype, .stride = stride, .transposed = transposed, .scales = scales.data()};
  }
  std::int64_t rows, cols, stride;
  DType dtype;
  std::vector<int> levels;
  std::vector<std::uint8_t> bytes;
  std::vector<float> scales;
};

struct Options {
  DType c = DType::f32;
  bool accumulate = false, bias = false;
  float alpha = 1.0f;
  std::int64_t gap = 0;      // between the rows of C
  std::int64_t sampled = 1;  // one in so many elements of C is compared
  bool dirty = false;        // so is the workspace
};

/// One product: what it should give, and what is wrong with what an entry gives.
class Product {
 public:
  Product(const Codes& a, const Codes& b, Options options = {})
      : a_(a), b_(b), options_(options), stride_(b.rows + options.gap) {
    for (std::int64_t i = 0; i < a.rows * stride_; ++i)
      before_.push_back(i % stride_ < b.rows ? 0.25f * static_cast<float>(i % 7) : outside);
    for (std::int64_t j = 0; j < b.rows; ++j) bias_.push_back(0.3f * static_cast<float>(j % 5));
    for_samples([&](std::int64_t i, std::int64_t j) {
      std::int64_t sum = 0;
      for (std::int64_t k = 0; k < a.cols; ++k) sum += a.level(i, k) * b.level(j, k);
      float x = static_cast<float>(sum) * (options.alpha * a.scales[static_cast<std::size_t>(i)]);
      x *= b.scales[static_cast<std::size_t>(j)];
      if (options.accumulate) x += rounded(before_[at(i, j)]);
      if (options.bias) x += bias_[static_cast<std::size_t>(j)];
      expected_.push_back(rounded(x));
    });
  }

  /// The first element that has not the bits it should have, or lies outside of C and was written; or nothing.
  std::string first_wrong(void (*entry)(const GemmArgs&)) const {
    std::vector<float> c32 = before_;
    std::vector<bf16> c16;
    for (const float x : before_) c16.push_back(to_bf16(x));
    const bool serial = entry == gemm_serial;
    entry(GemmArgs{.m = a_.rows,
                   .n = b_.rows,
                   .k = a_.cols,
                   .a = a_.matrix(false),
                   .b = b_.matrix(true),
                   .c = options_.c == DType::f32 ? static_cast<void*>(c32.data()) : c16.data(),
                   .c_dtype = options_.c,
                   .c_stride = stride_,
                   .accumulate = options_.accumulate,
                   .bias = options_.bias ? bias_.data() : nullptr,
                   .compute = DType::bf16,
                   .workspace = serial ? serial_gemm_workspace(options_.dirty) : shared_gemm_workspace(options_.dirty),
                   .alpha = options_.alpha});
    if (options_.c == DType::bf16)
      for (std::size_t i = 0; i < c32.size(); ++i) c32[i] = to_float(c16[i]);
    std::string wrong;
    auto expected = expected_.begin();
    for_samples([&](std::int64_t i, std::int64_t j) {
      const float got = c32[at(i, j)], right = *expected++;
      if (float_bits(got) != float_bits(right) && wrong.empty())
        wrong = fmt::format("C({},{}) is {}, expected {}", i, j, got, right);
    });
    for (std::int64_t i = 0; i < a_.rows; ++i)
      for (std::int64_t j = b_.rows; j < stride_; ++j)
        if (c32[at(i, j)] != outside) return fmt::format("C({},{}) lies outside and was written", i, j);
    return wrong;
  }

 private:
  static constexpr float outside = 77.0f;

  std::size_t at(std::int64_t i, std::int64_t j) const { return static_cast<std::size_t>(i * stride_ + j); }
  float rounded(float x) const { return options_.c == DType::bf16 ? to_float(to_bf16(x)) : x; }
  template <class Body>
  void for_samples(const Body& body) const {
    for (std::int64_t i = 0; i < a_.rows; ++i)
      for (std::int64_t j = i % options_.sampled; j < b_.rows; j += options_.sampled) body(i, j);
  }

  const Codes &a_, &b_;
  Options options_;
  std::int64_t stride_;
  std::vector<float> before_, bias_, expected_;  // expected_: of the samples
};

}  // namespace

TEST_CASE("gemm of integers is exact: every size up to 65 in one dimension, with the others odd") {
  for (std::int64_t s = 1; s <= 65; ++s)
    for (const auto& [m, n, k] : {std::array{s, std::int64_t{19}, std::int64_t{7}},
                                  {std::int64_t{9}, s, std::int64_t{133}},
                                  {std::int64_t{35}, std::int64_t{37}, s},
                                  {s, s, s}}) {
      const Codes a = Codes(m, k, DType::i8, 3).random(1), b = Codes(n, k, DType::i8, 1).random(2);
      const Product product(a, b);
      INFO("m " << m << " n " << n << " k " << k);
      in_every_way([&] {
        set_thread_count(2);
        REQUIRE(product.first_wrong(gemm) == "");
        REQUIRE(product.first_wrong(gemm_serial) == "");
        if (m <= 8) REQUIRE(product.first_wrong(gemv) == "");
      });
    }
}

TEST_CASE("gemm of integers is exact: every width of A and of B, into every C, through blocks of k and pieces of 256") {
  for (const DType a_type : integer_types)
    for (const DType b_type : integer_types) {
      const Codes a = Codes(5, 1801, a_type, 8).random(3), b = Codes(39, 1801, b_type, 16).random(4);
      for (int bits = 0; bits < 8; ++bits) {
        const Options options{.c = bits & 1 ? DType::bf16 : DType::f32,
                              .accumulate = (bits & 2) != 0,
                              .bias = (bits & 4) != 0,
                              .alpha = bits == 7 ? 0.3f : 1.0f};
        const Product product(a, b, options);
        INFO(name(a_type) << " " << name(b_type) << " options " << bits);
        in_every_way([&] {
          set_thread_count(2);
          REQUIRE(product.first_wrong(gemm) == "");
          REQUIRE(product.first_wrong(gemm_serial) == "");
          if (!options.accumulate && options.alpha == 1.0f) REQUIRE(product.first_wrong(gemv) == "");
        });
      }
    }
}

TEST_CASE("gemm of integers: without k, C is zero, or the bias, or unchanged, whatever the workspace holds") {
  const Codes a = Codes(5, 0, DType::i8).encode(), b = Codes(39, 0, DType::i8).encode();
  const Codes few = Codes(2, 0, DType::i8).encode();
  for (const DType c : {DType::f32, DType::bf16})
    for (const bool accumulate : {false, true})
      for (const bool bias : {false, true}) {
        const Options options{.c = c, .accumulate = accumulate, .bias = bias, .gap = 2, .dirty = true};
        const Product product(a, b, options), few_rows(few, b, options);
        INFO("C " << name(c) << " accumulate " << accumulate << " bias " << bias);
        in_every_way([&] {
          REQUIRE(product.first_wrong(gemm) == "");
          REQUIRE(product.first_wrong(gemm_serial) == "");
          if (!accumulate) REQUIRE(few_rows.first_wrong(gemv) == "");
        });
      }
}

// Where the sums of a block of C stand apart until all of k is added: gemm_blocks.h says how large the blocks are.
TEST_CASE("gemm of integers is exact: several blocks of m and n, each of several blocks of k") {
  const Options options{.c = DType::bf16, .accumulate = true, .bias = true, .alpha = 0.3f, .gap = 3, .sampled = 487};
  const Codes a = Codes(467, 1801, DType::i8).random(11), b = Codes(4603, 1801, DType::i8).random(12);
  const Product product(a, b, options);
  in_every_way([&] {
    set_thread_count(2);
    REQUIRE(product.first_wrong(gemm) == "");
  });
}

TEST_CASE("gemm_serial of integers is exact: several blocks of m and n, or of m alone, each of several blocks of k") {
  const Options options{.accumulate = true, .bias = true, .gap = 3, .sampled = 41};
  const Codes a = Codes(203, 2051, DType::i4, 5).random(13), b = Codes(601, 2051, DType::i8).random(14);
  const Codes tall = Codes(530, 1801, DType::i8).random(15), narrow = Codes(61, 1801, DType::i2, 7).random(16);
  const Product both(a, b, options), rows(tall, narrow, options);
  in_every_way([&] {
    REQUIRE(both.first_wrong(gemm_serial) == "");
    REQUIRE(rows.first_wrong(gemm_serial) == "");
  });
}

TEST_CASE("gemm of integers is exact with any number of threads") {
  const Codes a = Codes(203, 515, DType::i8).random(5), b = Codes(331, 515, DType::i4).random(6);
  const Codes wide = Codes(45, 3100, DType::i8).random(7), long_b = Codes(1003, 3100, DType::i2).random(8);
  const Product square(a, b, {.c = DType::bf16, .bias = true}), flat(wide, long_b, {.accumulate = true});
  in_every_way([&] {
    for (const int threads : {1, 2, 3, 8}) {
      set_thread_count(threads);
      REQUIRE(square.first_wrong(gemm) == "");
      REQUIRE(flat.first_wrong(gemm) == "");
    }
  });
}

TEST_CASE("gemm of integers is exact at the ends of the range, up to the longest k that 32 bits hold") {
  for (const std::int64_t k : {1, 1040, 32768, (1 << 17) - 1})
    for (const auto& [x, y] : {std::pair{-128, -128}, {-128, 127}, {127, -128}, {127, 127}}) {
      const Codes a = Codes(9, k, DType::i8).all(x), b = Codes(35, k, DType::i8).all(y);
      const Product product(a, b);
      const Codes few = Codes(2, k, DType::i8).all(x);
      const Product few_rows(few, b);
      INFO("k " << k << " of " << x << " times " << y);
      in_every_way([&] {
        set_thread_count(2);
        REQUIRE(product.first_wrong(gemm) == "");
        REQUIRE(few_rows.first_wrong(gemv) == "");
      });
    }
}

TEST_CASE("gemm of integers: a longer k is summed in floats, as with any other codes") {
  const std::int64_t k = 1 << 17;
  Codes a = Codes(2, k, DType::i8).all(-128), b = Codes(3, k, DType::i8).all(-128);
  std::fill(a.scales.begin(), a.scales.end(), 1.0f);  // or blocks of k would each be scaled and rounded
  std::fill(b.scales.begin(), b.scales.end(), 1.0f);
  const Product product(a, b);  // every sum on the way is a multiple of 2^14 below 2^38: exact in floats too
  in_every_way([&] {
    REQUIRE(product.first_wrong(gemm) == "");
    REQUIRE(product.first_wrong(gemv) == "");
  });
}
