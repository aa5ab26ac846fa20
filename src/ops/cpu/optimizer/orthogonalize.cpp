// Newton-Schulz steps on the CPU. For a wide block (rows <= cols), with X in the products' type:
//   A = X X^T (s, s)     B = b A + c A A (s, s) f32     U = a X + B X (rows, cols) f32     X = U, rounded
// and for a tall one A = X^T X and U = a X + X B, so nothing is transposed in memory. The three products are all but a
// few percent of the time (orthogonalize_flops); what is between them is one pass each over A and over X.
//
// The bits do not depend on threads: gemm's do not, and |U|_F is added up over parts that follow from the shape.
#include "ops/cpu/optimizer/orthogonalize.h"

#include <algorithm>
#include <cmath>

#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm/gemm.h"
#include "ops/cpu/machine/elements.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/multiples.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {
namespace {

constexpr std::int64_t some = 16384;  // elements of a part of the passes between products
constexpr std::int64_t alignment = 64;

/// Bytes of a matrix in the scratch.
std::int64_t bytes_of_matrix(std::int64_t elements, DType dtype) {
  return round_up(elements * size_of(dtype), alignment);
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
  parallel_for(ceil_div(n, some), [&](std::int64_t part) { body(part * some, std::min(some, n - part * some)); });
}

/// The sums of the parts lie in the memory of X, which is not made yet and is large enough: 8 bytes for 16384 elements.
double frobenius_norm(const Block& block) {
  auto* const sums = reinterpret_cast<double*>(block.x);
  for_elements(block.size(), [&](std::int64_t first, std::int64_t count) {
    const float* const u = block.u + first;
    simd([=] {
      sums[first / some] = lane_sum<double>(count, [=](std::int64_t i) { return static_cast<double>(u[i]) * u[i]; });
    });
  });
  double sum = 0;
  for (std::int64_t part = 0; part < ceil_div(block.size(), some); ++part) sum += sums[part];
  return std::sqrt(sum);
}

/// X = factor U, rounded to the products' type;  U = a X, to which B X is added.
void begin_step(const Block& block, float factor, float a) {
  with_act(block.compute, [&](auto t) {
    using T = decltype(t);
    for_elements(block.size(), [&](std::int64_t first, std::int64_t count) {
      T* const x = reinterpret_cast<T*>(block.x) + first;
      float* const u = block.u + first;
      simd([=] {
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i) {
          const T rounded = from_float<T>(u[i] * factor);
          x[i] = rounded;
          u[i] = to_float(rounded) * a;
        }
      });
    });
  });
}

/// B = b A, to which c A A is added.
void begin_polynomial(const Block& block, float b) {
  with_act(block.compute, [&](auto t) {
    using T = decltype(t);
    for_elements(block.s() * block.s(), [&](std::int64_t first, std::int64_t count) {
      const T* const from = reinterpret_cast<const T*>(block.a) + first;
      float* const to = block.b + first;
      simd([=] {
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i) to[i] = to_float(from[i]) * b;
      });
    });
  });
}

/// `factor`: of U before the step.
void newton_schulz(const Block& block, const NewtonSchulzStep& step, float factor) {
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
  begin_step(block, factor, step.a);
  product(s, s, wide ? cols : rows, x(!wide), x(wide), block.a, compute, false, 1.0f);
  begin_polynomial(block, step.b);
  product(s, s, s, a, a, block.b, DType::f32, true, step.c);
  if (wide)
    product(rows, cols, rows, b, x(false), block.u, DType::f32, true, 1.0f);
  else
    product(rows, cols, cols, x(false), b, block.u, DType::f32, true, 1.0f);
}

}  // namespace

std::int64_t orthogonalize_scratch(const Orthogonalization& how, std::int64_t rows, std::int64_t cols) {
  const std::int64_t height = rows / how.blocks, s = std::min(height, cols);
  const std::int64_t bytes = bytes_of_matrix(height * cols, how.compute) + bytes_of_matrix(s * s, how.compute) +
                             bytes_of_matrix(s * s, DType::f32);
  return bytes / size_of(DType::f32);
}

void orthogonalize(float* matrix, std::int64_t rows, std::int64_t cols, const Orthogonalization& how, float* scratch,
                   void* gemm_workspace) {
  const std::int64_t height = rows / how.blocks, s = std::min(height, cols);
  auto* const x = reinterpret_cast<std::byte*>(scratch);
  std::byte* const a = x + bytes_of_matrix(height * cols, how.compute);
  auto* const b = reinterpret_cast<float*>(a + bytes_of_matrix(s * s, how.compute));
  for (std::int64_t i = 0; i < how.blocks; ++i) {
    const Block block{matrix + i * height * cols, height, cols, how.compute, x, a, b, gemm_workspace};
    float factor = static_cast<float>(1.0 / (frobenius_norm(block) + 1e-7));
    for (int step = 0; step < how.steps; ++step, factor = 1.0f)
      newton_schulz(block, newton_schulz_step(how.polynomial, step, how.steps), factor);
  }
}

}  // namespace bittern::cpu
