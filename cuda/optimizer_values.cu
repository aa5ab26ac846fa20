// optimizer_values: the fused update of a parameter whose weight, master and moments are f32 or bf16:
//   decode -> update rule -> encode the master, then the weight [-> its error into the first moment] -> encode the moments
//   weight, master, m, v f32|bf16   gradient f32   record: whether the update is made, its number, the clip scale
// The element math is the header that the CPU compiles too, without contraction, so all bits are the CPU's. A thread an
// element. Moves 4 bytes of the gradient, and twice the bytes of what is kept.
#include "cuda/optimizer_values.h"

#include "bittern/optim/adamw.h"
#include "bittern/optim/sgdm.h"
#include "bittern/quant/bf16.h"
#include "cuda/gpu.h"

namespace bittern::cuda {
namespace {

constexpr int threads = 256;

__device__ __forceinline__ float read(const Values& x, std::int64_t i) {
  if (x.data == nullptr) return 0.0f;
  return x.dtype == DType::f32 ? static_cast<const float*>(x.data)[i] : to_float(static_cast<const bf16*>(x.data)[i]);
}

/// Stores the value, and returns what is stored.
__device__ __forceinline__ float write(const OptimizerValuesArgs& a, const Values& x, Purpose purpose, std::int64_t i,
                                       float value) {
  if (x.data == nullptr) return value;
  if (x.dtype == DType::f32) return static_cast<float*>(x.data)[i] = value;
  const auto element = static_cast<std::uint64_t>(a.first_element + i);
  const bf16 rounded =
      x.stochastic ? to_bf16_stochastic(value, philox(philox_key(a.seed, purpose), element, a.step, a.tensor_id))
                   : to_bf16(value);
  static_cast<bf16*>(x.data)[i] = rounded;
  return to_float(rounded);
}

__global__ void __launch_bounds__(threads) optimizer_values_kernel(OptimizerValuesArgs a) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= a.count) return;
  if (a.record != nullptr && a.record->skipped != Skipped::no) return;
  const float clip = a.record != nullptr ? a.record->clip : 1.0f;
  const RuleConstants c = constants_of(a.constants, a.record != nullptr ? a.record->updates : a.constants.first);
  float w = read(a.master.data != nullptr ? a.master : a.weight, i), m = read(a.m, i), v = read(a.v, i);
  const float g = a.gradient[i] * clip;
  if (a.rule == ElementRule::adamw)
    adamw(w, m, v, g, c);
  else
    sgdm(w, m, g, c);
  w = write(a, a.master, Purpose::master_rounding, i, w);
  const float error = w - write(a, a.weight, Purpose::weight_rounding, i, w);
  if (a.eco) {
    if (a.rule == ElementRule::adamw)
      adamw_eco(m, v, error, c);
    else
      sgdm_eco(m, error, c);
  }
  write(a, a.m, Purpose::first_moment_rounding, i, m);
  write(a, a.v, Purpose::second_moment_rounding, i, v);
}

}  // namespace

void optimizer_values(const OptimizerValuesArgs& a, cudaStream_t stream) {
  if (a.count == 0) return;
  gpu::launch(optimizer_values_kernel,
              {.grid = dim3(static_cast<unsigned>((a.count + threads - 1) / threads)),
               .block = dim3(threads),
               .stream = stream},
              a);
}

}  // namespace bittern::cuda
