// global_norm: norm[0] = sqrt(sum of squares over all gradients),  norm[1] = clip scale = min(1, max_norm / norm[0])
//   gradients f32, any shapes   norm (2) f32   max_norm 0: no clipping, norm[1] = 1
//   OVERWRITES norm. Reads the gradients: memory-bound. Sums in double over fixed chunks, added in order: nothing
//   overflows that is finite as a float, and any NaN or infinity shows in norm[0].
#include <algorithm>
#include <array>
#include <cmath>

#include "ops/cpu/backend.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {
namespace {

constexpr std::int64_t chunks_per_gradient = 64, gradients_at_once = 32;

inline double sum_of_squares(const float* x, std::int64_t n) {
  const std::int64_t quarter = n / 4;
  double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
  for (std::int64_t i = 0; i < quarter; ++i) {
    const double a = x[i], b = x[i + quarter], c = x[i + 2 * quarter], d = x[i + 3 * quarter];
    s0 += a * a;
    s1 += b * b;
    s2 += c * c;
    s3 += d * d;
  }
  for (std::int64_t i = 4 * quarter; i < n; ++i) s0 += static_cast<double>(x[i]) * x[i];
  return (s0 + s1) + (s2 + s3);
}

/// The sum of squares of up to gradients_at_once gradients.
double launch(std::span<const Tensor> gradients) {
  struct Chunk {
    const float* data;
    std::int64_t count;
    double sum;
  };
  std::array<Chunk, chunks_per_gradient * gradients_at_once> chunks;
  std::size_t count = 0;
  for (const Tensor& gradient : gradients) {
    const std::int64_t n = gradient.elements();
    const std::int64_t size = std::max<std::int64_t>(8192, (n + chunks_per_gradient - 1) / chunks_per_gradient);
    for (std::int64_t first = 0; first < n; first += size)
      chunks[count++] = {gradient.as<float>() + first, std::min(size, n - first), 0.0};
  }
  parallel_for(static_cast<std::int64_t>(count), [&](std::int64_t part) {
    Chunk& chunk = chunks[static_cast<std::size_t>(part)];
    simd([&] { chunk.sum = sum_of_squares(chunk.data, chunk.count); });
  });
  double sum = 0.0;
  for (std::size_t i = 0; i < count; ++i) sum += chunks[i].sum;
  return sum;
}

}  // namespace

void CpuBackend::do_global_norm(const GlobalNorm& args) {
  const std::span<const Tensor> gradients = args.gradients;
  double sum = 0.0;
  for (std::size_t first = 0; first < gradients.size(); first += gradients_at_once)
    sum += launch(gradients.subspan(first, std::min<std::size_t>(gradients_at_once, gradients.size() - first)));
  const double length = std::sqrt(sum);
  auto* out = args.norm.as<float>();
  out[0] = static_cast<float>(length);
  out[1] = args.max_norm > 0.0f && length > args.max_norm ? static_cast<float>(args.max_norm / length) : 1.0f;
}

}  // namespace bittern::cpu
