// cross_entropy over a chunk of rows:  lse = log sum exp(logits);  loss = lse - logits[target];  lse_squared = lse^2
//   logits (R,V) f32|bf16   targets (R) i32, -1: row ignored   loss, lse_squared (R) f32
//   OVERWRITES loss and lse_squared (0 in ignored rows) and, with backward, logits:
//     dlogits = scale * (softmax * (1 + 2 z_loss lse) - onehot(target)), 0 in ignored rows
//   Reads logits once, writes them once.
//
// One exponential per element: it dominates. A row is taken a block at a time: exp(x - m) is added up and kept in
// scratch, m being the largest logit of an earlier block. A sum that shows that the block has far larger logits is
// thrown away, and the block, still in L1, is done again with its own maximum. At the end every block needs one factor
// to become probabilities: exp(its m - last m) / sum.
#include <algorithm>
#include <limits>
#include <utility>

#include "ops/cpu/backend.h"
#include "ops/cpu/machine/elements.h"
#include "ops/cpu/machine/row_parts.h"
#include "ops/cpu/machine/vector_math.h"

namespace bittern::cpu {
namespace {

constexpr std::int64_t block_size = 2048;

std::int64_t blocks_of(std::int64_t V) {
  return (V + block_size - 1) / block_size;
}

/// A thread's exponentials, and the maximum of each block.
std::int64_t scratch_floats(std::int64_t V) {
  return (blocks_of(V) + V + 15) / 16 * 16;
}

template <typename T>
[[gnu::always_inline]] inline float max_of(const T* x, std::int64_t n, float start) {
  return max_over(n, start, [=](std::int64_t i) { return to_float(x[i]); });
}

/// The sum of exp(x[i] - m); with keep, exps[i] is each of them (exps may be x's memory).
template <bool fused, bool keep, typename T>
[[gnu::always_inline]] inline float exp_sum(float* exps, const T* x, float m, std::int64_t n) {
  return sum_over(n, [=](std::int64_t i) {
    const float e = exp_f32<fused>(to_float(x[i]) - m);
    if constexpr (keep) exps[i] = e;
    return e;
  });
}

template <typename T>
inline void scale_into(T* out, const float* exps, float factor, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) out[i] = from_float<T>(exps[i] * factor);
}

struct Row {
  std::int64_t V;
  std::int32_t target;
  float scale, z_loss;
  float* block_m;  ///< m of each block
  float* exps;     ///< V floats: exp(x - m)
};

/// One row with a target. Returns lse and loss.
template <bool fused, bool backward, typename T>
inline std::pair<float, float> cross_entropy_row(T* logits, const Row& row) {
  const std::int64_t V = row.V;
  const float target_logit = to_float(logits[row.target]);
  // Far from overflow, far above the sum of a block whose logits are no larger than m.
  constexpr float too_large = 1e6f;
  // Not -inf, so that x - m is never -inf - -inf: masked logits give exp = 0.
  constexpr float lowest = std::numeric_limits<float>::lowest();
  float m = max_of(logits, std::min(block_size, V), lowest), sum = 0.0f;
  for (std::int64_t first = 0; first < V; first += block_size) {
    const std::int64_t n = std::min(block_size, V - first);
    prefetch(logits + first + block_size, block_size);
    float block_sum = exp_sum<fused, backward>(row.exps + first, logits + first, m, n);
    if (!(block_sum < too_large)) {
      const float before = m;
      m = max_of(logits + first, n, m);
      sum *= exp_f32<fused>(before - m);
      block_sum = exp_sum<fused, backward>(row.exps + first, logits + first, m, n);
    }
    sum += block_sum;
    row.block_m[first / block_size] = m;
  }
  const float lse = m + log_f32(sum);
  if constexpr (backward) {
    const float common = row.scale * (1.0f + 2.0f * row.z_loss * lse) / sum;
    const auto factor = [&](std::int64_t block) { return common * exp_f32<fused>(row.block_m[block] - m); };
    for (std::int64_t first = 0; first < V; first += block_size)
      scale_into(logits + first, row.exps + first, factor(first / block_size), std::min(block_size, V - first));
    logits[row.target] = from_float<T>(row.exps[row.target] * factor(row.target / block_size) - row.scale);
  }
  return {lse, lse - target_logit};
}

template <bool backward, typename T>
void launch(const Tensor& logits, const std::int32_t* targets, float* loss, float* lse_squared, float scale,
            float z_loss, float* scratch) {
  const std::int64_t R = logits.rows(), V = logits.cols();
  parallel_for(R, [&](std::int64_t r, int worker) {
    T* logits_row = row_of<T>(logits, r);
    if (targets[r] < 0) {
      loss[r] = lse_squared[r] = 0.0f;
      if (backward) std::fill_n(logits_row, V, T{});
      return;
    }
    float* own = scratch + worker * scratch_floats(V);
    const Row row{.V = V, .target = targets[r], .scale = scale, .z_loss = z_loss, .block_m = own + V, .exps = own};
    simd([&](auto fused) {
      const auto [lse, row_loss] = cross_entropy_row<fused(), backward>(logits_row, row);
      loss[r] = row_loss;
      lse_squared[r] = lse * lse;
    });
  });
}

}  // namespace

std::int64_t scratch_for(const CrossEntropy& args) {
  return thread_count() * scratch_floats(args.logits.cols()) * size_of(DType::f32);
}

void CpuBackend::do_cross_entropy(const CrossEntropy& args) {
  auto* const memory = static_cast<float*>(scratch(args));
  with_act(args.logits.dtype, [&](auto t) {
    const auto run = args.backward ? launch<true, decltype(t)> : launch<false, decltype(t)>;
    run(args.logits, args.targets.as<std::int32_t>(), args.loss.as<float>(), args.lse_squared.as<float>(),
        args.backward ? *args.scale.as<float>() : 0.0f, args.z_loss, memory);
  });
}

}  // namespace bittern::cpu
