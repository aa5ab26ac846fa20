// Attention with caches: a sequence fed in pieces gives what the forward pass gives at once.
#include <cstdint>
#include <vector>

#include "catch.h"
#include "ops/cases/attention.h"
#include "ops/cpu/attention/attention.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/every_isa.h"

namespace bittern {
namespace {

using namespace bittern::test;

struct Fed {
  Matrix out, k_cache, v_cache;
};

/// Feeds the sequence in pieces of the given sizes, over and over. Cache rows that nobody wrote hold NaN.
Fed feed(const AttentionCase& c, const Matrix& qkv, const std::vector<std::int64_t>& pieces) {
  const std::int64_t T = c.shape.sequence_length, kv_cols = c.shape.kv_heads * c.shape.head_dim, capacity = T + 3;
  Fed fed{Matrix(c.dtype, T, c.out_cols()), Matrix(c.dtype, capacity, kv_cols), Matrix(c.dtype, capacity, kv_cols)};
  for (std::int64_t i = 0; i < capacity * kv_cols; ++i) {
    fed.k_cache.set(i, std::nanf(""));
    fed.v_cache.set(i, std::nanf(""));
  }
  std::size_t piece = 0;
  for (std::int64_t done = 0; done < T;) {
    const std::int64_t rows = std::min(pieces[piece++ % pieces.size()], T - done);
    AttentionShape shape = c.shape;
    shape.sequence_length = rows;
    std::vector<float> workspace(static_cast<std::size_t>((cpu::attention_workspace_bytes(shape) + 3) / 4),
                                 std::nanf(""));
    cpu::attention_cached({.shape = shape,
                           .qkv = qkv.tensor.slice_rows(done, rows),
                           .out = fed.out.tensor.slice_rows(done, rows),
                           .k_cache = fed.k_cache.tensor,
                           .v_cache = fed.v_cache.tensor,
                           .first_position = done},
                          workspace.data());
    done += rows;
  }
  return fed;
}

}  // namespace

TEST_CASE("attention_cached: a sequence fed in pieces gives what the whole gives") {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const auto& [T, H, KV, D] : std::vector<std::array<std::int64_t, 4>>{{1, 1, 1, 2},
                                                                              {40, 4, 1, 16},
                                                                              {70, 2, 2, 6},
                                                                              {70, 10, 2, 6},
                                                                              {65, 16, 2, 80},
                                                                              {300, 4, 2, 64},
                                                                              {530, 1, 1, 34}}) {
      const AttentionCase c{.shape = {.batch = 1, .sequence_length = T, .heads = H, .kv_heads = KV, .head_dim = D},
                            .dtype = dtype};
      const Matrix qkv = random_qkv(c);
      const AttentionReference truth(c.shape, qkv.doubles(), {});
      cpu::on_every_isa([&] {
        for (const std::vector<std::int64_t>& pieces :
             std::vector<std::vector<std::int64_t>>{{1}, {1000}, {7}, {11}, {12}, {13, 1, 1, 40}, {100, 1}}) {
          INFO(c.text() << " first piece " << pieces[0]);
          const Fed fed = feed(c, qkv, pieces);
          CHECK(relative_error([&](std::int64_t i) { return fed.out.get(i); }, truth.out) <
                (dtype == DType::bf16 ? 1e-2 : 2e-6));
          bool kept = true;
          for (std::int64_t t = 0; t < T; ++t)
            for (std::int64_t i = 0; i < KV * D; ++i) {
              kept = kept && fed.k_cache.get(t * KV * D + i) == qkv.get(t * c.shape.packed() + H * D + i);
              kept = kept && fed.v_cache.get(t * KV * D + i) == qkv.get(t * c.shape.packed() + (H + KV) * D + i);
            }
          CHECK(kept);
          CHECK(std::isnan(fed.k_cache.get(T * KV * D)));
        }
      });
    }
}

TEST_CASE(
    "attention_cached: the table's sequences in pieces of 1, 6 and all, in a workspace of exactly the promised size") {
  for (const auto& [c, gap, piece] : attention_table()) {
    if (c.shape.batch != 1 || c.shape.sequence_length > 65) continue;
    const Matrix qkv = random_qkv(c);
    const AttentionReference truth(c.shape, qkv.doubles(), {});
    cpu::on_every_isa([&, &c = c] {
      for (const std::int64_t rows : {std::int64_t{1}, std::int64_t{6}, c.shape.sequence_length}) {
        INFO(c.text() << " pieces of " << rows);
        const Fed fed = feed(c, qkv, {rows});
        CHECK(relative_error([&](std::int64_t i) { return fed.out.get(i); }, truth.out) <
              (c.dtype == DType::bf16 ? 1e-2 : 2e-6));
      }
    });
  }
}

TEST_CASE("attention_cached: bits do not depend on the number of threads") {
  const AttentionCase c{.shape = {.batch = 1, .sequence_length = 90, .heads = 6, .kv_heads = 3, .head_dim = 16}};
  const Matrix qkv = random_qkv(c);
  cpu::on_every_isa([&] {
    for (const std::int64_t piece : {1, 50}) {
      cpu::set_thread_count(1);
      const Fed one = feed(c, qkv, {piece});
      for (const int threads : {2, 3, 8}) {
        cpu::set_thread_count(threads);
        CHECK(feed(c, qkv, {piece}).out.bytes == one.out.bytes);
      }
    }
  });
}

TEST_CASE("attention_cached: large scores neither overflow nor lose the softmax") {
  AttentionCase c{.shape = {.batch = 1, .sequence_length = 300, .heads = 2, .kv_heads = 1, .head_dim = 16}};
  c.logit_scale = 1e3f;
  const Matrix qkv = random_qkv(c);
  const AttentionReference truth(c.shape, qkv.doubles(), {});
  cpu::on_every_isa([&] {
    const Fed fed = feed(c, qkv, {1});
    CHECK(relative_error([&](std::int64_t i) { return fed.out.get(i); }, truth.out) < 4e-3);
  });
}

TEST_CASE("attention_cached: a full cache is refused") {
  const AttentionCase c{.shape = {.batch = 1, .sequence_length = 2, .heads = 2, .kv_heads = 1, .head_dim = 4}};
  Matrix qkv = random_qkv(c), out(DType::f32, 2, 8), cache(DType::f32, 10, 4);
  const TestBackend backend(make_cpu_backend(1));
  const auto at = [&](std::int64_t first) {
    backend->attention_cached({.shape = c.shape,
                               .qkv = qkv.tensor,
                               .out = out.tensor,
                               .k_cache = cache.tensor,
                               .v_cache = cache.tensor,
                               .first_position = first});
  };
  CHECK_NOTHROW(at(8));
  CHECK_THROWS_WITH(at(9), "attention_cached: positions 9 to 10 do not fit a cache of 10");
  CHECK_THROWS_WITH(at(-1), "attention_cached: positions -1 to 0 do not fit a cache of 10");
}

}  // namespace bittern
