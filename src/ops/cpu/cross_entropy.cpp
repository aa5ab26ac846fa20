// cross_entropy over a chunk of rows:  lse = log sum exp(logits);  loss = lse - logits[target];  lse_squared = lse^2
//   logits (R,V) f32|bf16   targets (R) i32, -1: row ignored   loss, lse_squared (R) f32
//   OVERWRITES loss and lse_squared (0 in ignored rows) and, with backward, logits:
//     dlogits = scale * (softmax * (1 + 2 z_loss lse) - onehot(target)), 0 in ignored rows
//   Every target is checked before anything is written. Reads logits once, writes them once.
//
// One exponential per element: it dominates. A row is taken a block at a time; a block, still in L1, has its maximum
// taken, and exp(x - m), m the maximum so far, is added up and kept (in the row itself, or in scratch where logits are
// bf16, so that nothing is rounded twice). At the end every block needs one factor to become probabilities: exp(its m -
// last m) / sum.
#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "bittern/profile.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/checked.h"
#include "ops/cpu/row_parts.h"
#include "ops/cpu/vector_math.h"

namespace bittern::cpu {
namespace {

constexpr std::int64_t block_size = 2048;

std::int64_t blocks_of(std::int64_t V) {
  return (V + block_size - 1) / block_size;
}

template <typename T>
inline float max_of(const T* x, std::int64_t n, float start) {
  float largest = start;
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < n; ++i) {
    const float v = to_float(x[i]);
    largest = v > largest ? v : largest;
  }
  return largest;
}

/// exps[i] = exp(x[i] - m) where exps is not null; returns their sum. exps may be x's memory.
template <typename T>
inline float exp_sum(float* exps, const T* x, float m, std::int64_t n) {
  if (exps == nullptr) return sum_over(n, [=](std::int64_t i) { return exp_f32(to_float(x[i]) - m); });
  return sum_over(n, [=](std::int64_t i) {
    const float e = exp_f32(to_float(x[i]) - m);
    exps[i] = e;
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
  float* exps;       ///< V floats, or null: no backward
  float* block_max;  ///< the maximum up to each block
};

/// One row with a target. Returns lse and loss.
template <typename T>
inline std::pair<float, float> cross_entropy_row(T* logits, const Row& row) {
  const std::int64_t V = row.V;
  // Not -inf, so that x - m is never -inf - -inf: masked logits give exp = 0.
  float m = std::numeric_limits<float>::lowest(), sum = 0.0f;
  const float target_logit = to_float(logits[row.target]);
  for (std::int64_t first = 0; first < V; first += block_size) {
    const std::int64_t n = std::min(block_size, V - first);
    const float before = m;
    m = max_of(logits + first, n, m);
    row.block_max[first / block_size] = m;
    sum = sum * exp_f32(before - m) + exp_sum(row.exps ? row.exps + first : nullptr, logits + first, m, n);
  }
  const float lse = m + log_f32(sum);
  if (row.exps != nullptr) {
    const float common = row.scale * (1.0f + 2.0f * row.z_loss * lse) / sum;
    const float target_exp = row.exps[row.target];
    for (std::int64_t first = 0; first < V; first += block_size)
      scale_into(logits + first, row.exps + first, common * exp_f32(row.block_max[first / block_size] - m),
                 std::min(block_size, V - first));
    const float factor = common * exp_f32(row.block_max[row.target / block_size] - m);
    logits[row.target] = from_float<T>(target_exp * factor - row.scale);
  }
  return {lse, lse - target_logit};
}

template <typename T>
void launch(const Tensor& logits, const std::int32_t* targets, float* loss, float* lse_squared, float scale,
            float z_loss, bool backward, float* scratch) {
  const std::int64_t R = logits.rows(), V = logits.cols();
  parallel_for(R, [&](std::int64_t r, int worker) {
    T* row = row_of<T>(logits, r);
    if (targets[r] < 0) {
      loss[r] = lse_squared[r] = 0.0f;
      if (backward) std::fill_n(row, V, T{});
      return;
    }
    float* block_max = scratch + worker * cross_entropy_scratch_floats(V);
    float* exps = nullptr;
    if (backward) {
      if constexpr (std::is_same_v<T, float>)
        exps = row;
      else
        exps = block_max + blocks_of(V);
    }
    simd([&] {
      const auto [lse, row_loss] = cross_entropy_row(
          row,
          Row{.V = V, .target = targets[r], .scale = scale, .z_loss = z_loss, .exps = exps, .block_max = block_max});
      loss[r] = row_loss;
      lse_squared[r] = lse * lse;
    });
  });
}

}  // namespace

std::int64_t cross_entropy_scratch_floats(std::int64_t V) {
  return (blocks_of(V) + V + 15) / 16 * 16;
}

void CpuBackend::cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& loss,
                               const Tensor& lse_squared, float scale, float z_loss, bool backward) {
  constexpr std::string_view op = "cross_entropy";
  const std::int64_t R = logits.rows(), V = logits.cols();
  Checked{op, "logits", logits}.act().matrix(R, V);
  Checked{op, "targets", targets}.of(DType::i32).vector(R);
  Checked{op, "loss", loss}.of(DType::f32).vector(R);
  Checked{op, "lse_squared", lse_squared}.of(DType::f32).vector(R);
  const auto* ids = targets.as<std::int32_t>();
  for (std::int64_t r = 0; r < R; ++r)
    check(ids[r] >= -1 && ids[r] < V,
          "{}: target {} of row {} is outside the vocabulary; expected 0 to {}, or -1 to ignore the row", op, ids[r], r,
          V - 1);
  const OpScope scope(op, (backward ? 2 : 1) * bytes_of(logits));
  auto* memory =
      static_cast<float*>(scratch(op, thread_count() * cross_entropy_scratch_floats(V) * size_of(DType::f32)));
  with_act(logits.dtype, [&](auto t) {
    launch<decltype(t)>(logits, ids, loss.as<float>(), lse_squared.as<float>(), scale, z_loss, backward, memory);
  });
}

}  // namespace bittern::cpu
