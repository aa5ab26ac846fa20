// Attention against double precision, for every instruction set that this machine can run.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "catch.h"
#include "ops/attention_reference.h"
#include "ops/cases/attention.h"
#include "ops/cpu.h"
#include "ops/cpu/attention/attention.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/every_isa.h"

namespace bittern {
namespace {

using namespace bittern::test;

struct Result {
  Matrix out, lse, dqkv;
};

/// A workspace of exactly the promised size, filled with NaN, and what lies behind it.
class Workspace {
 public:
  explicit Workspace(const AttentionShape& shape)
      : promised_(static_cast<std::size_t>((cpu::attention_workspace_bytes(shape) + 3) / 4)),
        memory_(promised_ + guard, std::nanf("")) {
    std::fill(memory_.end() - guard, memory_.end(), 1234.5f);
  }
  ~Workspace() {
    CHECK(std::all_of(memory_.end() - guard, memory_.end(), [](float x) { return x == 1234.5f; }));
  }
  void* data() { return memory_.data(); }
  void dirty() { std::fill(memory_.begin(), memory_.end() - guard, std::nanf("")); }

 private:
  static constexpr std::ptrdiff_t guard = 4096;
  std::size_t promised_;
  std::vector<float> memory_;
};

Result run(const AttentionCase& c, const Matrix& qkv, const Matrix* dout) {
  Result r{Matrix(c.dtype, c.rows(), c.out_cols()),
           Matrix(DType::f32, c.shape.batch * c.shape.heads, c.shape.sequence_length),
           Matrix(c.dtype, c.rows(), c.shape.packed())};
  Workspace workspace(c.shape);
  cpu::attention_forward(
      {.shape = c.shape, .scores = c.scores, .qkv = qkv.tensor, .out = r.out.tensor, .lse = r.lse.tensor},
      workspace.data());
  if (dout != nullptr) {
    workspace.dirty();
    cpu::attention_backward({.shape = c.shape,
                             .scores = c.scores,
                             .qkv = qkv.tensor,
                             .out = r.out.tensor,
                             .lse = r.lse.tensor,
                             .dqkv = r.dqkv.tensor,
                             .dout = dout->tensor},
                            workspace.data());
  }
  return r;
}

void compare(const AttentionCase& c) {
  INFO(c.text());
  const Matrix qkv = random_qkv(c), dout = random_matrix(c.dtype, c.rows(), c.out_cols(), 2);
  const AttentionReference truth(c.shape, qkv.doubles(), dout.doubles(), c.scores);
  const bool rounded = c.dtype == DType::bf16;
  cpu::on_every_isa([&] {
    const Result r = run(c, qkv, &dout);
    CHECK(relative_error([&](std::int64_t i) { return r.out.get(i); }, truth.out) < (rounded ? 1e-2 : c.bound(2e-6)));
    CHECK(relative_error([&](std::int64_t i) { return r.lse.get(i); }, truth.lse) < c.bound(2e-6));
    CHECK(relative_error([&](std::int64_t i) { return r.dqkv.get(i); }, truth.dqkv) <
          (rounded ? 1.5e-2 : c.bound(5e-6)));
  });
}

AttentionCase make(std::int64_t B, std::int64_t T, std::int64_t H, std::int64_t KV, std::int64_t D, DType dtype) {
  return {.shape = {.batch = B, .sequence_length = T, .heads = H, .kv_heads = KV, .head_dim = D}, .dtype = dtype};
}

constexpr DType dtypes[] = {DType::f32, DType::bf16};

bool same_bytes(const Matrix& a, const Matrix& b) {
  return a.bytes == b.bytes;
}

}  // namespace

TEST_CASE("attention: the reference's gradients are the numeric gradients of its output") {
  const AttentionShape shape{.batch = 1, .sequence_length = 5, .heads = 4, .kv_heads = 2, .head_dim = 6};
  const AttentionCase c{.shape = shape};
  const std::vector<double> qkv = random_qkv(c).doubles(), dout = random_matrix(DType::f32, 5, 24, 2).doubles();
  for (const AttentionScores& scores : {AttentionScores{}, {.scale = 0.7f, .softcap = 1.5f, .window = 3}}) {
    const AttentionReference truth(shape, qkv, dout, scores);
    const auto loss = [&](const std::vector<double>& x) {
      const AttentionReference at(shape, x, {}, scores);
      double sum = 0;
      for (std::size_t i = 0; i < dout.size(); ++i) sum += at.out[i] * dout[i];
      return sum;
    };
    for (std::size_t i = 0; i < qkv.size(); ++i) {
      std::vector<double> up = qkv, down = qkv;
      up[i] += 1e-5;
      down[i] -= 1e-5;
      CHECK(truth.dqkv[i] == Approx((loss(up) - loss(down)) / 2e-5).margin(1e-8));
    }
  }
}

TEST_CASE("attention agrees with double precision on every instruction set and thread count") {
  check_on_cpu(attention_cases());
}

TEST_CASE("attention: the table's cases in a workspace of exactly the promised size, dirty before each pass") {
  for (const AttentionOnBackend& c : attention_table()) compare(c.of);
}

TEST_CASE("attention: long sequences, the largest heads, many query heads to a key/value head") {
  for (const DType dtype : dtypes) {
    for (const std::int64_t T : {129, 257, 300}) compare(make(1, T, 2, 2, 32, dtype));
    compare(make(2, 67, 2, 1, 256, dtype));
    compare(make(1, 77, 34, 2, 8, dtype));
    compare(make(1, 200, 8, 2, 16, dtype));
    compare(make(3, 150, 6, 3, 16, dtype));
    compare(make(5, 40, 8, 4, 16, dtype));
  }
}

TEST_CASE("attention: large logits neither overflow nor lose the softmax") {
  for (const DType dtype : dtypes)
    for (const float scale : {30.0f, 1e3f}) {
      AttentionCase c = make(1, 70, 2, 2, 16, dtype);
      c.logit_scale = scale;
      INFO(c.text());
      const Matrix qkv = random_qkv(c), dout = random_matrix(c.dtype, c.rows(), c.out_cols(), 2);
      const AttentionReference truth(c.shape, qkv.doubles(), dout.doubles(), c.scores);
      // A logit of 1e3 has an error of 1e-4 in fp32, which is the relative error of its weight.
      const double bound = dtype == DType::bf16 ? 2e-2 : 4e-6 * static_cast<double>(scale);
      cpu::on_every_isa([&] {
        const Result r = run(c, qkv, &dout);
        CHECK(relative_error([&](std::int64_t i) { return r.out.get(i); }, truth.out) < bound);
        CHECK(relative_error([&](std::int64_t i) { return r.lse.get(i); }, truth.lse) < 2e-6);
        CHECK(relative_error([&](std::int64_t i) { return r.dqkv.get(i); }, truth.dqkv) < 2 * bound);
      });
    }
}

TEST_CASE("attention: equal logits average the values, at any magnitude") {
  for (const DType dtype : dtypes)
    for (const float size : {0.0f, 1e4f, 1e18f}) {
      const AttentionCase c = make(1, 70, 1, 1, 4, dtype);
      Matrix qkv = random_qkv(c);
      for (std::int64_t t = 0; t < 70; ++t)
        for (std::int64_t d = 0; d < 8; ++d) qkv.set(t * 12 + d, size);
      cpu::on_every_isa([&] {
        const Result r = run(c, qkv, nullptr);
        for (std::int64_t d = 0; d < 4; ++d) {
          double sum = 0;
          for (std::int64_t t = 0; t < 70; ++t) {
            sum += static_cast<double>(qkv.get(t * 12 + 8 + d));
            CHECK(static_cast<double>(r.out.get(t * 4 + d)) ==
                  Approx(sum / static_cast<double>(t + 1)).margin(dtype == DType::bf16 ? 1e-2 : 1e-5));
          }
        }
      });
    }
}

TEST_CASE("attention: what comes later changes no bit of what was before, be it NaN or infinite") {
  for (const DType dtype : dtypes)
    for (const std::int64_t changed : {1, 17, 31, 64, 90}) {
      const AttentionCase c = make(1, 100, 4, 2, 10, dtype);
      const Matrix qkv = random_qkv(c);
      const std::int64_t P = c.shape.packed();
      cpu::on_every_isa([&] {
        const Result before = run(c, qkv, nullptr);
        for (const float poison : {3.0f, std::nanf(""), INFINITY, -INFINITY}) {
          INFO(c.text() << " row " << changed << " " << poison);
          for (const std::int64_t first_col : {c.out_cols(), c.out_cols() + 2 * c.shape.head_dim}) {
            Matrix other = qkv;
            for (std::int64_t t = changed; t < 100; t += 2)
              for (std::int64_t i = first_col; i < first_col + 20; ++i) other.set(t * P + i, poison);
            const Result after = run(c, other, nullptr);
            const auto head = static_cast<std::size_t>(changed * c.out_cols() * size_of(dtype));
            CHECK(std::equal(after.out.bytes.begin(), after.out.bytes.begin() + static_cast<std::ptrdiff_t>(head),
                             before.out.bytes.begin()));
            for (std::int64_t h = 0; h < 4; ++h)
              CHECK(std::memcmp(after.lse.tensor.as<float>() + h * 100, before.lse.tensor.as<float>() + h * 100,
                                static_cast<std::size_t>(changed) * sizeof(float)) == 0);
            if (poison != poison)
              for (std::int64_t t = changed; t < 100; ++t)
                for (std::int64_t i = 0; i < c.out_cols(); ++i) {
                  if (after.out.get(t * c.out_cols() + i) == after.out.get(t * c.out_cols() + i))
                    FAIL("a NaN was lost");
                }
          }
        }
      });
    }
}

TEST_CASE("attention: what lies before the window changes no bit, be it NaN or infinite") {
  for (const DType dtype : dtypes)
    for (const std::int64_t window : {1, 30, 64, 70}) {
      AttentionCase c = make(1, 170, 4, 2, 10, dtype);
      c.scores.window = window;
      const Matrix qkv = random_qkv(c);
      const std::int64_t P = c.shape.packed(), changed = 90;  // the last key that is changed
      cpu::on_every_isa([&] {
        const Result before = run(c, qkv, nullptr);
        for (const float poison : {3.0f, std::nanf(""), INFINITY}) {
          INFO(c.text() << " " << poison);
          Matrix other = qkv;
          for (std::int64_t t = 0; t <= changed; ++t)
            for (std::int64_t i = c.out_cols(); i < P; ++i) other.set(t * P + i, poison);
          const Result after = run(c, other, nullptr);
          const std::int64_t first = changed + window;  // whose window begins behind it
          CHECK(std::memcmp(after.out.bytes.data() + first * c.out_cols() * size_of(dtype),
                            before.out.bytes.data() + first * c.out_cols() * size_of(dtype),
                            static_cast<std::size_t>((170 - first) * c.out_cols() * size_of(dtype))) == 0);
          CHECK(std::memcmp(after.out.bytes.data(), before.out.bytes.data(), before.out.bytes.size()) != 0);
        }
      });
    }
}

TEST_CASE("attention: a window that covers the sequence changes no bit") {
  for (const DType dtype : dtypes) {
    AttentionCase c = make(1, 100, 2, 1, 16, dtype);
    const Matrix qkv = random_qkv(c), dout = random_matrix(dtype, c.rows(), c.out_cols(), 2);
    cpu::on_every_isa([&] {
      c.scores.window = 0;
      const Result all = run(c, qkv, &dout);
      c.scores.window = 100;
      const Result window = run(c, qkv, &dout);
      CHECK(same_bytes(all.out, window.out));
      CHECK(same_bytes(all.dqkv, window.dqkv));
    });
  }
}

TEST_CASE("attention: an infinite value spoils its own column alone") {
  const AttentionCase c = make(1, 50, 1, 1, 8, DType::f32);
  Matrix qkv = random_qkv(c);
  const std::int64_t P = c.shape.packed();
  cpu::on_every_isa([&] {
    const Result clean = run(c, qkv, nullptr);
    Matrix other = qkv;
    other.set(20 * P + 16 + 3, INFINITY);
    other.set(30 * P + 16 + 5, std::nanf(""));
    const Result r = run(c, other, nullptr);
    for (std::int64_t t = 0; t < 50; ++t)
      for (std::int64_t d = 0; d < 8; ++d) {
        const float x = r.out.get(t * 8 + d);
        if (d == 3 && t >= 20)
          CHECK(x == INFINITY);
        else if (d == 5 && t >= 30)
          CHECK(std::isnan(x));
        else
          CHECK(x == clean.out.get(t * 8 + d));
      }
  });
}

TEST_CASE("attention: bits do not depend on the number of threads") {
  for (const DType dtype : dtypes)
    for (const AttentionCase& c : {make(1, 300, 4, 1, 16, dtype), make(1, 257, 2, 2, 32, dtype),
                                   make(5, 65, 8, 4, 8, dtype), make(1, 600, 1, 1, 8, dtype)}) {
      INFO(c.text());
      const Matrix qkv = random_qkv(c), dout = random_matrix(c.dtype, c.rows(), c.out_cols(), 2);
      cpu::on_every_isa([&] {
        cpu::set_thread_count(1);
        const Result one = run(c, qkv, &dout);
        for (const int threads : {2, 3, 8}) {
          cpu::set_thread_count(threads);
          const Result many = run(c, qkv, &dout);
          CHECK(same_bytes(one.out, many.out));
          CHECK(same_bytes(one.lse, many.lse));
          CHECK(same_bytes(one.dqkv, many.dqkv));
        }
      });
    }
}

TEST_CASE("attention: a sequence's result does not depend on its neighbours in the batch") {
  for (const DType dtype : dtypes) {
    const AttentionCase three = make(3, 70, 2, 1, 16, dtype), one = make(1, 70, 2, 1, 16, dtype);
    const Matrix qkv = random_qkv(three);
    Matrix middle(dtype, 70, one.shape.packed());
    std::memcpy(middle.bytes.data(), qkv.bytes.data() + middle.bytes.size(), middle.bytes.size());
    cpu::on_every_isa([&] {
      const Result all = run(three, qkv, nullptr), alone = run(one, middle, nullptr);
      CHECK(std::memcmp(all.out.bytes.data() + alone.out.bytes.size(), alone.out.bytes.data(),
                        alone.out.bytes.size()) == 0);
    });
  }
}

TEST_CASE("attention: rows may lie apart, and nothing between them is touched") {
  for (const DType dtype : dtypes) {
    const AttentionCase c = make(2, 40, 2, 1, 6, dtype);
    const std::int64_t P = c.shape.packed(), C = c.out_cols();
    const Matrix qkv = random_qkv(c), dout = random_matrix(dtype, c.rows(), C, 2);
    cpu::on_every_isa([&] {
      const Result expected = run(c, qkv, &dout);
      Matrix wide(dtype, c.rows(), 2 * P + 2 * C + 14), clean = wide;
      const auto column = [&](std::int64_t first, std::int64_t count) { return wide.tensor.slice_cols(first, count); };
      const Tensor a = column(3, P), b = column(P + 5, C), d = column(P + C + 7, P), e = column(2 * P + C + 11, C);
      const auto copy = [&](const Tensor& to, const Tensor& from) {
        for (std::int64_t r = 0; r < c.rows(); ++r)
          std::memcpy(static_cast<char*>(to.data) + r * to.row_stride * size_of(dtype),
                      static_cast<const char*>(from.data) + r * from.row_stride * size_of(dtype),
                      static_cast<std::size_t>(from.cols() * size_of(dtype)));
      };
      copy(a, qkv.tensor);
      copy(e, dout.tensor);
      Matrix lse(DType::f32, 4, 40);
      Workspace workspace(c.shape);
      cpu::attention_forward({.shape = c.shape, .scores = c.scores, .qkv = a, .out = b, .lse = lse.tensor},
                             workspace.data());
      cpu::attention_backward({.shape = c.shape, .qkv = a, .out = b, .lse = lse.tensor, .dqkv = d, .dout = e},
                              workspace.data());
      Matrix out(dtype, c.rows(), C), dqkv(dtype, c.rows(), P);
      copy(out.tensor, b);
      copy(dqkv.tensor, d);
      CHECK(same_bytes(out, expected.out));
      CHECK(same_bytes(dqkv, expected.dqkv));
      for (std::int64_t r = 0; r < c.rows(); ++r)
        for (const std::int64_t gap : {std::int64_t{2}, P + 3, P + 4, P + C + 6, 2 * P + C + 10, 2 * P + 2 * C + 12})
          CHECK(wide.get(r * wide.tensor.row_stride + gap) == clean.get(r * wide.tensor.row_stride + gap));
    });
  }
}

TEST_CASE("attention: the workspace of a batch serves every smaller and shorter one") {
  cpu::on_every_isa([&] {
    for (const int threads : {1, 2, 8}) {
      cpu::set_thread_count(threads);
      for (const std::int64_t kv : {1, 2, 5}) {
        const AttentionShape largest{.batch = 20, .sequence_length = 300, .heads = 10, .kv_heads = kv, .head_dim = 48};
        const std::int64_t bytes = cpu::attention_workspace_bytes(largest);
        for (std::int64_t batch = 1; batch <= 20; ++batch)
          for (std::int64_t T = 1; T <= 300; T += 13) {
            AttentionShape shape = largest;
            shape.batch = batch;
            shape.sequence_length = T;
            if (cpu::attention_workspace_bytes(shape) > bytes) FAIL(batch << " x " << T << " with KV " << kv);
          }
      }
    }
  });
}

TEST_CASE("attention: scratch grows with the sequence and not with its square: T x T never exists") {
  for (const std::int64_t D : {16, 64, 128}) {
    const auto bytes = [&](std::int64_t T) {
      return static_cast<double>(cpu::attention_workspace_bytes(
          AttentionShape{.batch = 1, .sequence_length = T, .heads = 8, .kv_heads = 8, .head_dim = D}));
    };
    cpu::on_every_isa([&] {
      for (const int threads : {1, 2, 8, 64}) {
        cpu::set_thread_count(threads);
        CHECK(bytes(8192) < 2.05 * bytes(4096));
        CHECK(bytes(65536) < 8.2 * bytes(8192));
      }
    });
  }
}

TEST_CASE("attention: wrong tensors are named") {
  const AttentionCase c = make(1, 4, 2, 1, 8, DType::f32);
  Matrix qkv = random_qkv(c), out(DType::f32, 4, 16), lse(DType::f32, 2, 4), wrong(DType::bf16, 4, 16);
  const TestBackend backend(make_cpu_backend(1));
  const auto forward = [&](AttentionShape shape, const Tensor& o) {
    backend->attention_forward({.shape = shape, .qkv = qkv.tensor, .out = o, .lse = lse.tensor});
  };
  CHECK_THROWS_WITH(forward(c.shape, wrong.tensor), "attention_forward: out must be f32, got bf16");
  AttentionShape shape = c.shape;
  shape.head_dim = 7;
  CHECK_THROWS_WITH(forward(shape, out.tensor),
                    "attention_forward: the head size must be even and from 2 to 256, got 7");
  CHECK_THROWS_WITH(
      backend->attention_forward(
          {.shape = c.shape, .scores = {.window = -1}, .qkv = qkv.tensor, .out = out.tensor, .lse = lse.tensor}),
      "attention_forward: the window is -1; it must not be negative");
  shape = c.shape;
  shape.kv_heads = 3;
  CHECK_THROWS_WITH(forward(shape, out.tensor),
                    "attention_forward: 2 query heads cannot share 3 key/value heads evenly");
  shape.kv_heads = 0;
  CHECK_THROWS_WITH(forward(shape, out.tensor),
                    "attention_forward: 2 query heads cannot share 0 key/value heads evenly");
}

}  // namespace bittern
