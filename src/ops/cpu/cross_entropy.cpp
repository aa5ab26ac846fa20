// cross_entropy over a chunk of rows:  lse = log sum exp(logits);  loss = lse - logits[target];  lse_squared = lse^2
//   logits (R,V) f32|bf16   targets (R) i32, -1: row ignored   loss, lse_squared (R) f32
//   OVERWRITES loss and lse_squared (0 in ignored rows) and, with backward, logits:
//     dlogits = scale * (softmax * (1 + 2 z_loss lse) - onehot(target)), 0 in ignored rows
//   With a soft cap the logits are x' = cap tanh(x / cap) of what is given, and dlogits is multiplied by dx'/dx.
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

/// Logits as they are given.
struct Plain {
  explicit Plain(float) {}
  template <bool fused>
  float of(float x) const {
    return x;
  }
  template <bool fused>
  float slope(float) const {
    return 1.0f;
  }
};

/// x' = cap tanh(x / cap). With s = sigmoid(2 x / cap): tanh = 2 s - 1, and dx'/dx = 1 - tanh^2 = 4 s (1 - s).
struct Capped {
  explicit Capped(float softcap) : cap(softcap), twice_inverse(2.0f / softcap) {}
  template <bool fused>
  float of(float x) const {
    return cap * (2.0f * sigmoid_f32<fused>(x * twice_inverse) - 1.0f);
  }
  template <bool fused>
  float slope(float x) const {
    const float s = sigmoid_f32<fused>(x * twice_inverse);
    return 4.0f * s * (1.0f - s);
  }
  float cap, twice_inverse;
};

template <bool fused, class Cap, typename T>
[[gnu::always_inline]] inline float max_of(Cap cap, const T* x, std::int64_t n, float start) {
  return max_over(n, start, [=](std::int64_t i) { return cap.template of<fused>(to_float(x[i])); });
}

/// The sum of exp(x'[i] - m); with keep, exps[i] is each of them.
template <bool fused, bool keep, class Cap, typename T>
[[gnu::always_inline]] inline float exp_sum(Cap cap, float* exps, const T* x, float m, std::int64_t n) {
  return sum_over(n, [=](std::int64_t i) {
    const float e = exp_f32<fused>(cap.template of<fused>(to_float(x[i])) - m);
    if constexpr (keep) exps[i] = e;
    return e;
  });
}

/// x, the logits as given, becomes exps * factor times the slope of the cap at x: taken of x, for a capped logit in bf16
/// is too coarse where the slope is near 0.
template <bool fused, class Cap, typename T>
inline void scale_into(Cap cap, T* x, const float* exps, float factor, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i)
    x[i] = from_float<T>(exps[i] * factor * cap.template slope<fused>(to_float(x[i])));
}

struct Row {
  std::int64_t V;
  std::int32_t target;
  float scale, z_loss;
  float* block_m;  ///< m of each block
  float* exps;     ///< V floats: exp(x - m)
};

/// One row with a target. Returns lse and loss.
template <bool fused, bool backward, class Cap, typename T>
inline std::pair<float, float> cross_entropy_row(Cap cap, T* logits, const Row& row) {
  const std::int64_t V = row.V;
  const float target_given = to_float(logits[row.target]), target_logit = cap.template of<fused>(target_given);
  // Far from overflow, far above the sum of a block whose logits are no larger than m.
  constexpr float too_large = 1e6f;
  // Not -inf, so that x - m is never -inf - -inf: masked logits give exp = 0.
  constexpr float lowest = std::numeric_limits<float>::lowest();
  float m = max_of<fused>(cap, logits, std::min(block_size, V), lowest), sum = 0.0f;
  for (std::int64_t first = 0; first < V; first += block_size) {
    const std::int64_t n = std::min(block_size, V - first);
    prefetch(logits + first + block_size, block_size);
    float block_sum = exp_sum<fused, backward>(cap, row.exps + first, logits + first, m, n);
    if (!(block_sum < too_large)) {
      const float before = m;
      m = max_of<fused>(cap, logits + first, n, m);
      sum *= exp_f32<fused>(before - m);
      block_sum = exp_sum<fused, backward>(cap, row.exps + first, logits + first, m, n);
    }
    sum += block_sum;
    row.block_m[first / block_size] = m;
  }
  const float lse = m + log_f32(sum);
  if constexpr (backward) {
    const float common = row.scale * (1.0f + 2.0f * row.z_loss * lse) / sum;
    const auto factor = [&](std::int64_t block) { return common * exp_f32<fused>(row.block_m[block] - m); };
    for (std::int64_t first = 0; first < V; first += block_size)
      scale_into<fused>(cap, logits + first, row.exps + first, factor(first / block_size),
                        std::min(block_size, V - first));
    const float of_target = row.exps[row.target] * factor(row.target / block_size) - row.scale;
    logits[row.target] = from_float<T>(of_target * cap.template slope<fused>(target_given));
  }
  return {lse, lse - target_logit};
}

template <bool backward, class Cap, typename T>
void launch(const CrossEntropy& args, float* scratch) {
  const Tensor& logits = args.logits;
  const std::int64_t R = logits.rows(), V = logits.cols();
  const auto* const targets = args.targets.as<std::int32_t>();
  auto *const loss = args.loss.as<float>(), *const lse_squared = args.lse_squared.as<float>();
  const float scale = backward ? *args.scale.as<float>() : 0.0f;
  const Cap cap(args.softcap);
  parallel_for(R, [&](std::int64_t r, int worker) {
    T* logits_row = row_of<T>(logits, r);
    if (targets[r] < 0) {
      loss[r] = lse_squared[r] = 0.0f;
      if (backward) std::fill_n(logits_row, V, T{});
      return;
    }
    float* own = scratch + worker * scratch_floats(V);
    const Row row{.V = V, .target = targets[r], .scale = scale, .z_loss = args.z_loss, .block_m = own + V, .exps = own};
    simd([&](auto fused) {
      const auto [lse, row_loss] = cross_entropy_row<fused(), backward>(cap, logits_row, row);
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
    using T = decltype(t);
    if (args.softcap > 0.0f)
      return args.backward ? launch<true, Capped, T>(args, memory) : launch<false, Capped, T>(args, memory);
    return args.backward ? launch<true, Plain, T>(args, memory) : launch<false, Plain, T>(args, memory);
  });
}

}  // namespace bittern::cpu
