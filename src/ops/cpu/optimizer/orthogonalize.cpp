// Newton-Schulz steps on the CPU. For a wide block (rows <= cols), with X in the products' type:
//   A = X X^T (s, s)     B = b A + c A A (s, s) f32     U = a X + B X (rows, cols) f32     X = U, rounded
// and for a tall one A = X^T X and U = a X + X B, so nothing is transposed in memory. The three products are all but a
// few percent of the time (orthogonalize_flops); what is between them is one pass each over A and over X.
//
// The bits do not depend on threads: gemm's do not, and |U|_F is added up over parts that follow from the shape.
#include "ops/cpu/optimizer/orthogonalize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "bittern/quant/bf16.h"
#include "bittern/row_parts.h"
#include "ops/cpu/gemm/gemm.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {
namespace {

constexpr std::int64_t some = 16384;  // elements of a part of the passes between products

std::int64_t padded(std::int64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// A block, its scratch, and the products' type.
struct Block {
  float* u;
  std::int64_t rows, cols;
  DType compute;
  std::byte *x, *a;  ///< (rows, cols) and (s, s) of `compute`
  float* b;          ///< (s, s)
  void* gemm_workspace;

  bool wide() const { return rows <= cols; }
  std::int64_t s() const { return std::min(rows, cols); }
  std::int64_t size() const { return rows * cols; }
};

/// body(first, count) over parts of n elements.
template <class F>
void for_elements(std::int64_t n, F body) {
  parallel_for((n + some - 1) / some, [&](std::int64_t part) { body(part * some, std::min(some, n - part * some)); });
}

double frobenius_norm(const Block& block) {
  const std::int64_t n = block.size(), parts = (n + some - 1) / some;
  std::vector<double> sums(static_cast<std::size_t>(parts));
  for_elements(n, [&](std::int64_t first, std::int64_t count) {
    const float* const u = block.u + first;
    double sum = 0;
    simd([&] { sum = lane_sum<double>(count, [=](std::int64_t i) { return static_cast<double>(u[i]) * u[i]; }); });
    sums[static_cast<std::size_t>(first / some)] = sum;
  });
  double sum = 0;
  for (const double part : sums) sum += part;
  return std::sqrt(sum);
}

/// to = factor * from.
void store_scaled(void* to, DType dtype, const float* from, float factor, std::int64_t n) {
  for_elements(n, [=](std::int64_t first, std::int64_t count) {
    const float* const in = from + first;
    simd([=] {
      if (dtype == DType::f32) {
        float* const out = static_cast<float*>(to) + first;
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i) out[i] = in[i] * factor;
      } else {
        bf16* const out = static_cast<bf16*>(to) + first;
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i) out[i] = to_bf16(in[i] * factor);
      }
    });
  });
}

void load_scaled(float* to, const void* from, DType dtype, float factor, std::int64_t n) {
  for_elements(n, [=](std::int64_t first, std::int64_t count) {
    float* const out = to + first;
    simd([=] {
      if (dtype == DType::f32) {
        const float* const in = static_cast<const float*>(from) + first;
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i) out[i] = in[i] * factor;
      } else {
        const bf16* const in = static_cast<const bf16*>(from) + first;
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i) out[i] = to_float(in[i]) * factor;
      }
    });
  });
}

void newton_schulz(const Block& block, const NewtonSchulzStep& step) {
  const std::int64_t s = block.s(), rows = block.rows, cols = block.cols;
  const bool wide = block.wide();
  const DType compute = block.compute;
  const auto x = [&](bool transposed) { return GemmMatrix{block.x, compute, cols, transposed}; };
  const GemmMatrix a{block.a, compute, s, false}, b{block.b, DType::f32, s, false};
  const auto product = [&](std::int64_t m, std::int64_t n, std::int64_t k, const GemmMatrix& left,
                           const GemmMatrix& right, void* c, DType c_dtype, bool accumulate, float alpha) {
    gemm({.m = m,
          .n = n,
          .k = k,
          .a = left,
          .b = right,
          .c = c,
          .c_dtype = c_dtype,
          .c_stride = n,
          .accumulate = accumulate,
          .bias = nullptr,
          .compute = compute,
          .workspace = block.gemm_workspace,
          .alpha = alpha});
  };
  product(s, s, wide ? cols : rows, x(!wide), x(wide), block.a, compute, false, 1.0f);
  load_scaled(block.b, block.a, compute, step.b, s * s);
  product(s, s, s, a, a, block.b, DType::f32, true, step.c);
  load_scaled(block.u, block.x, compute, step.a, block.size());
  if (wide)
    product(rows, cols, rows, b, x(false), block.u, DType::f32, true, 1.0f);
  else
    product(rows, cols, cols, x(false), b, block.u, DType::f32, true, 1.0f);
}

}  // namespace

std::int64_t orthogonalize_scratch(const Orthogonalization& how, std::int64_t rows, std::int64_t cols) {
  const std::int64_t height = rows / how.blocks, s = std::min(height, cols), element = size_of(how.compute);
  const std::int64_t bytes = padded(height * cols * element) + padded(s * s * element) + padded(s * s * 4);
  return bytes / static_cast<std::int64_t>(sizeof(float));
}

void orthogonalize(float* matrix, std::int64_t rows, std::int64_t cols, const Orthogonalization& how, float* scratch,
                   void* gemm_workspace) {
  const std::int64_t height = rows / how.blocks, s = std::min(height, cols), element = size_of(how.compute);
  auto* const x = reinterpret_cast<std::byte*>(scratch);
  std::byte* const a = x + padded(height * cols * element);
  auto* const b = reinterpret_cast<float*>(a + padded(s * s * element));
  for (std::int64_t i = 0; i < how.blocks; ++i) {
    const Block block{matrix + i * height * cols, height, cols, how.compute, x, a, b, gemm_workspace};
    const double norm = frobenius_norm(block);
    store_scaled(x, how.compute, block.u, static_cast<float>(1.0 / (norm + 1e-7)), block.size());
    for (int step = 0; step < how.steps; ++step) {
      if (step > 0) store_scaled(x, how.compute, block.u, 1.0f, block.size());
      newton_schulz(block, newton_schulz_step(how.polynomial, step, how.steps));
    }
  }
}

}  // namespace bittern::cpu
