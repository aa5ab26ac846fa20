// glu: out = activation(gate) * up                                                                     (Shazeer 2020)
//   silu(g) = g sigmoid(g)   gelu_tanh(g) = g sigmoid(2 z), z = sqrt(2/pi) (g + 0.044715 g^3)
//   gate_up (N,2F) = [gate | up]   out, dout (N,F)   all f32|bf16 in any mix; out may also be codes of activations
//   forward  overwrites out. Reads gate_up, writes out: memory-bound.
//   backward dgate = dout up activation'(gate)   dup = dout activation(gate)
//            silu' = s (1 + g (1 - s)), s = sigmoid(g)   gelu_tanh' = s + g s (1 - s) 2 z', s = sigmoid(2 z)
//            overwrites gate_up by [dgate | dup], and out by the forward value (for the gradient of down_proj's
//            weight), so that forward need not keep it. dout may be out's memory.
//            Reads gate_up, dout, writes gate_up, out.
#include "ops/cpu/backend.h"
#include "ops/cpu/codes/quantize_rows.h"
#include "ops/cpu/machine/elements.h"
#include "ops/cpu/machine/row_parts.h"
#include "ops/cpu/machine/vector_math.h"

namespace bittern::cpu {
namespace {

struct Value {
  float of, slope;  ///< activation(g), activation'(g)
};

struct Silu {
  template <bool fused>
  static float of(float g) {
    return g * sigmoid_f32<fused>(g);
  }
  template <bool fused>
  static Value with_slope(float g) {
    const float s = sigmoid_f32<fused>(g);
    return {g * s, s * (1.0f + g * (1.0f - s))};
  }
};

/// The sigmoid of 2 z rather than (1 + tanh z) / 2: nothing cancels. Of a large |g| it is 0 or 1 exactly; z' is bounded,
/// so that the slope is then as well.
struct GeluTanh {
  static constexpr float twice_root = 1.595769122f;  // 2 sqrt(2/pi)
  static constexpr float cubic = 0.044715f;
  template <bool fused>
  static float of(float g) {
    return g * sigmoid_f32<fused>(twice_root * (g + cubic * g * g * g));
  }
  template <bool fused>
  static Value with_slope(float g) {
    const float s = sigmoid_f32<fused>(twice_root * (g + cubic * g * g * g));
    const float square = g * g < 1e30f ? g * g : 1e30f;
    return {g * s, s + g * (s * (1.0f - s)) * (twice_root * (1.0f + 3.0f * cubic * square))};
  }
};

template <class A, bool fused, typename O, typename G>
inline void forward_row(O* out, const G* gate, const G* up, std::int64_t F) {
#pragma omp simd
  for (std::int64_t i = 0; i < F; ++i) {
    out[i] = from_float<O>(A::template of<fused>(to_float(gate[i])) * to_float(up[i]));
  }
}

template <class A, bool fused, typename G, typename O, typename D>
inline void backward_row(G* gate, G* up, O* out, const D* dout, std::int64_t F) {
#pragma omp simd
  for (std::int64_t i = 0; i < F; ++i) {
    const float u = to_float(up[i]), d = to_float(dout[i]);
    const Value a = A::template with_slope<fused>(to_float(gate[i]));
    out[i] = from_float<O>(a.of * u);
    gate[i] = from_float<G>(d * u * a.slope);
    up[i] = from_float<G>(d * a.of);
  }
}

template <class A, typename G, typename O>
void launch_forward(const OutputRows<O>& out, const Tensor& gate_up) {
  const std::int64_t N = gate_up.rows(), F = gate_up.cols() / 2;
  for_row_ranges(N, even_parts(N, F), [&](std::int64_t first, std::int64_t last, int worker) {
    simd([&](auto fused) {
      for (std::int64_t r = first; r < last; ++r) {
        const G* gate = row_of<G>(gate_up, r);
        forward_row<A, fused()>(out.begin(r, worker), gate, gate + F, F);
        out.end(r, worker);
      }
    });
  });
}

template <class A, typename G, typename D, typename O>
void launch_backward(const OutputRows<O>& out, const Tensor& gate_up, const Tensor& dout) {
  const std::int64_t N = gate_up.rows(), F = gate_up.cols() / 2;
  for_row_ranges(N, even_parts(N, F), [&](std::int64_t first, std::int64_t last, int worker) {
    simd([&](auto fused) {
      for (std::int64_t r = first; r < last; ++r) {
        G* gate = row_of<G>(gate_up, r);
        backward_row<A, fused()>(gate, gate + F, out.begin(r, worker), row_of<D>(dout, r), F);
        out.end(r, worker);
      }
    });
  });
}

}  // namespace

std::int64_t scratch_for(const GluForward& args) {
  return row_buffer_bytes(args.out);
}
std::int64_t scratch_for(const GluBackward& args) {
  return row_buffer_bytes(args.out);
}

void CpuBackend::do_glu_forward(const GluForward& args) {
  with_output(args.out, scratch(args), [&](const auto& rows) {
    with_act(args.gate_up.dtype, [&](auto g) {
      switch (args.activation) {
        case Activation::silu:
          return launch_forward<Silu, decltype(g)>(rows, args.gate_up);
        case Activation::gelu_tanh:
          return launch_forward<GeluTanh, decltype(g)>(rows, args.gate_up);
      }
    });
  });
}

void CpuBackend::do_glu_backward(const GluBackward& args) {
  with_output(args.out, scratch(args), [&](const auto& rows) {
    with_act(args.gate_up.dtype, [&](auto g) {
      with_act(args.dout.dtype, [&](auto d) {
        switch (args.activation) {
          case Activation::silu:
            return launch_backward<Silu, decltype(g), decltype(d)>(rows, args.gate_up, args.dout);
          case Activation::gelu_tanh:
            return launch_backward<GeluTanh, decltype(g), decltype(d)>(rows, args.gate_up, args.dout);
        }
      });
    });
  });
}

}  // namespace bittern::cpu
