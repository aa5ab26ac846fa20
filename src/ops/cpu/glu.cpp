// glu: out = activation(gate) * up; silu, the only activation so far: silu(g) = g sigmoid(g)            (Shazeer 2020)
//   gate_up (N,2F) = [gate | up]   out, dout (N,F)   all f32|bf16 in any mix; out may also be codes of activations
//   forward  overwrites out. Reads gate_up, writes out: memory-bound.
//   backward with s = sigmoid(gate):  dgate = dout up s (1 + gate (1 - s))   dup = dout silu(gate)
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

template <bool fused, typename O, typename G>
inline void forward_row(O* out, const G* gate, const G* up, std::int64_t F) {
#pragma omp simd
  for (std::int64_t i = 0; i < F; ++i) {
    const float g = to_float(gate[i]);
    out[i] = from_float<O>(g * sigmoid_f32<fused>(g) * to_float(up[i]));
  }
}

template <bool fused, typename G, typename O, typename D>
inline void backward_row(G* gate, G* up, O* out, const D* dout, std::int64_t F) {
#pragma omp simd
  for (std::int64_t i = 0; i < F; ++i) {
    const float g = to_float(gate[i]), u = to_float(up[i]), d = to_float(dout[i]);
    const float s = sigmoid_f32<fused>(g);
    const float silu = g * s;
    out[i] = from_float<O>(silu * u);
    gate[i] = from_float<G>(d * u * (s * (1.0f + g * (1.0f - s))));
    up[i] = from_float<G>(d * silu);
  }
}

template <typename G, typename O>
void launch_forward(const OutputRows<O>& out, const Tensor& gate_up) {
  const std::int64_t N = gate_up.rows(), F = gate_up.cols() / 2;
  for_row_ranges(N, even_parts(N, F), [&](std::int64_t first, std::int64_t last, int worker) {
    simd([&](auto fused) {
      for (std::int64_t r = first; r < last; ++r) {
        const G* gate = row_of<G>(gate_up, r);
        forward_row<fused()>(out.begin(r, worker), gate, gate + F, F);
        out.end(r, worker);
      }
    });
  });
}

template <typename G, typename D, typename O>
void launch_backward(const OutputRows<O>& out, const Tensor& gate_up, const Tensor& dout) {
  const std::int64_t N = gate_up.rows(), F = gate_up.cols() / 2;
  for_row_ranges(N, even_parts(N, F), [&](std::int64_t first, std::int64_t last, int worker) {
    simd([&](auto fused) {
      for (std::int64_t r = first; r < last; ++r) {
        G* gate = row_of<G>(gate_up, r);
        backward_row<fused()>(gate, gate + F, out.begin(r, worker), row_of<D>(dout, r), F);
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
          return launch_forward<decltype(g)>(rows, args.gate_up);
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
            return launch_backward<decltype(g), decltype(d)>(rows, args.gate_up, args.dout);
        }
      });
    });
  });
}

}  // namespace bittern::cpu
