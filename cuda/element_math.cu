// element_math: the shared element math as device code, so that it is known to be good for both compilers. Each kernel is the
// plain map of one header's function; the update itself is what the fused step will be built from.
#include <cstdint>

#include "bittern/optim/adamw.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/philox.h"

namespace bittern::cuda {

/// w, m, v (n) f32, updated in place from g (n) f32.
__global__ void adamw_kernel(float* w, float* m, float* v, const float* g, AdamwConstants constants, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) adamw(w[i], m[i], v[i], g[i], constants);
}

/// to (n) = x (n), rounded stochastically by the number that belongs to each element.
__global__ void round_bf16_kernel(bf16* to, const float* x, PhiloxKey key, std::uint32_t step, std::uint32_t tensor_id, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) to[i] = to_bf16_stochastic(x[i], philox(key, static_cast<std::uint64_t>(i), step, tensor_id));
}

}  // namespace bittern::cuda
