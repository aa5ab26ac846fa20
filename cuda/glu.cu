// glu: out = activation(gate) * up                                                                  (Shazeer 2020)
//   silu(g) = g sigmoid(g)   gelu_tanh(g) = g sigmoid(2 z), z = sqrt(2/pi) (g + 0.044715 g^3)
//   gate_up (N,2F) = [gate | up]   out, dout (N,F)   all f32|bf16; out may also be codes with a scale per row
//   forward  overwrites out. Moves 6 bytes an element of out in bf16, with codes 5.
//   backward dgate = dout up activation'(gate)   dup = dout activation(gate)
//            silu' = s (1 + g (1 - s)), s = sigmoid(g)   gelu_tanh' = s + g s (1 - s) 2 z', s = sigmoid(2 z)
//            overwrites gate_up by [dgate | dup], and out by the forward value. dout may be out's memory.
//            Moves 12 bytes an element in bf16, with codes 11: memory-bound, both.
// A block takes a row. Where out is codes it goes through the row twice, first for the largest magnitude, then from the
// cache.
#include "cuda/glu.h"

#include "cuda/chunk.h"
#include "cuda/ptx.h"
#include "cuda/reduce.h"

namespace bittern::cuda {
namespace {

/// 1 / (1 + exp(-x)). The division is exact; exp is right to some 1e-6.
__device__ __forceinline__ float sigmoid(float x) {
  return 1.0f / (1.0f + gpu::exp2_approximate(-1.44269504f * x));
}

struct Value {
  float of, slope;  ///< activation(g), activation'(g)
};

struct Silu {
  __device__ static Value of(float g) {
    const float s = sigmoid(g);
    return {g * s, s * (1.0f + g * (1.0f - s))};
  }
};

/// z' is bounded: of a large |g|, s (1 - s) is 0, and the slope s.
struct GeluTanh {
  __device__ static Value of(float g) {
    constexpr float twice_root = 1.595769122f, cubic = 0.044715f;  // 2 sqrt(2/pi)
    const float s = sigmoid(twice_root * (g + cubic * g * g * g)), square = g * g < 1e30f ? g * g : 1e30f;
    return {g * s, s + g * (s * (1.0f - s)) * (twice_root * (1.0f + 3.0f * cubic * square))};
  }
};

template <bool vector>
__device__ __forceinline__ void load_gate_up(const GluArgs& a, std::int64_t row, int col, float (&gate)[chunk],
                                             float (&up)[chunk]) {
  load<vector>(a.gate_up, row, col, a.cols, gate);
  load<vector>(a.gate_up, row, a.cols + col, 2 * a.cols, up);
}

/// The scale of a row of codes, for all threads.
template <class A, bool vector>
__device__ __forceinline__ float scale_of_row(const GluArgs& a, std::int64_t row, OfWarps<std::uint32_t>& shared) {
  std::uint32_t largest = 0;
  for (int col = static_cast<int>(threadIdx.x) * chunk; col < a.cols; col += static_cast<int>(blockDim.x) * chunk) {
    float gate[chunk], up[chunk];
    load_gate_up<vector>(a, row, col, gate, up);
#pragma unroll
    for (int i = 0; i < chunk; ++i) {
      const std::uint32_t bits = col + i < a.cols ? magnitude_bits(A::of(gate[i]).of * up[i]) : 0u;
      largest = bits > largest ? bits : largest;
    }
  }
  const float scale = scale_of_codes(a.out.dtype, block_largest(largest, shared));
  if (threadIdx.x == 0) a.out.scales[row] = scale;
  return scale;
}

template <bool vector>
__device__ __forceinline__ void store_out(const GluArgs& a, std::int64_t row, int col, const float (&value)[chunk],
                                          float scale) {
  if (is_code(a.out.dtype))
    store_quantized<vector>(a.out, row, col, a.cols, value, scale);
  else
    store<vector>(a.out, row, col, a.cols, value);
}

template <class A, bool vector>
__global__ void __launch_bounds__(256) forward_kernel(GluArgs a) {
  auto& shared = gpu::shared_memory<OfWarps<std::uint32_t>>();
  const std::int64_t row = blockIdx.x;
  const float scale = is_code(a.out.dtype) ? scale_of_row<A, vector>(a, row, shared) : 1.0f;
  for (int col = static_cast<int>(threadIdx.x) * chunk; col < a.cols; col += static_cast<int>(blockDim.x) * chunk) {
    float gate[chunk], up[chunk];
    load_gate_up<vector>(a, row, col, gate, up);
#pragma unroll
    for (int i = 0; i < chunk; ++i) gate[i] = A::of(gate[i]).of * up[i];
    store_out<vector>(a, row, col, gate, scale);
  }
}

template <class A, bool vector>
__global__ void __launch_bounds__(256) backward_kernel(GluArgs a) {
  auto& shared = gpu::shared_memory<OfWarps<std::uint32_t>>();
  const std::int64_t row = blockIdx.x;
  const float scale = is_code(a.out.dtype) ? scale_of_row<A, vector>(a, row, shared) : 1.0f;
  for (int col = static_cast<int>(threadIdx.x) * chunk; col < a.cols; col += static_cast<int>(blockDim.x) * chunk) {
    float gate[chunk], up[chunk], d[chunk], out[chunk];
    load_gate_up<vector>(a, row, col, gate, up);
    load<vector>(a.dout, row, col, a.cols, d);
#pragma unroll
    for (int i = 0; i < chunk; ++i) {
      const float u = up[i];
      const Value value = A::of(gate[i]);
      out[i] = value.of * u;
      gate[i] = d[i] * u * value.slope;
      up[i] = d[i] * value.of;
    }
    store_out<vector>(a, row, col, out, scale);
    store<vector>(a.gate_up, row, col, a.cols, gate);
    store<vector>(a.gate_up, row, a.cols + col, 2 * a.cols, up);
  }
}

void run(void (*kernel)(GluArgs), const GluArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  gpu::launch(kernel,
              {.grid = dim3(static_cast<unsigned>(a.rows)),
               .block = dim3(static_cast<unsigned>(threads_for(a.cols))),
               .shared_bytes = sizeof(OfWarps<std::uint32_t>),
               .stream = stream},
              a);
}

bool vectors(const GluArgs& a) {
  return vector_rows(a.gate_up, a.cols) && vector_rows(a.out, a.cols) && vector_rows(a.dout, a.cols);
}

template <class A>
void forward(const GluArgs& a, cudaStream_t stream) {
  run(vectors(a) ? forward_kernel<A, true> : forward_kernel<A, false>, a, stream);
}

template <class A>
void backward(const GluArgs& a, cudaStream_t stream) {
  run(vectors(a) ? backward_kernel<A, true> : backward_kernel<A, false>, a, stream);
}

}  // namespace

void glu_forward(const GluArgs& a, cudaStream_t stream) {
  switch (a.activation) {
    case Activation::silu:
      return forward<Silu>(a, stream);
    case Activation::gelu_tanh:
      return forward<GeluTanh>(a, stream);
  }
}

void glu_backward(const GluArgs& a, cudaStream_t stream) {
  switch (a.activation) {
    case Activation::silu:
      return backward<Silu>(a, stream);
    case Activation::gelu_tanh:
      return backward<GeluTanh>(a, stream);
  }
}

}  // namespace bittern::cuda
