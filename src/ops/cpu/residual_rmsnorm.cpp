// residual_rmsnorm: sum = x + y;  n = sum * rstd * (offset + w),  rstd = 1 / sqrt(mean(sum^2) + eps)
//                                                                                             (Zhang & Sennrich 2019)
//   x, y, sum, n (N,C) f32|bf16 in any mix; n may also be codes of activations   w (C) f32   rstd (N) f32, kept for
//   backward
//   forward  overwrites sum, n, rstd. y may be empty: sum = x (and sum may then be empty too: nothing is stored).
//            sum may be x's memory. The norm is of the stored sum. Reads x, y, writes sum, n: memory-bound.
//   backward with xhat = sum * rstd, g = dn * (offset + w):
//            dx += rstd * (g - xhat * mean(g * xhat))      dw += sum over rows of dn * xhat
//            ACCUMULATES both (dw in row_parts); with `overwrite` dx is as if it had been 0.
//            Reads dx (not with overwrite), dn, sum, writes dx.
#include <algorithm>
#include <cmath>

#include "ops/cpu/backend.h"
#include "ops/cpu/codes/quantize_rows.h"
#include "ops/cpu/machine/elements.h"
#include "ops/cpu/machine/row_parts.h"
#include "ops/cpu/machine/vector_math.h"

namespace bittern::cpu {
namespace {

/// What a normalised row is multiplied by.
struct Factor {
  const float* w;
  float offset;
  float operator()(std::int64_t i) const { return offset + w[i]; }
};

/// One row. Returns rstd. Y: the type of y, or void* for none; sum may be null without y.
template <typename S, typename O, typename X, typename Y>
inline float forward_row(S* sum, O* n, const X* x, const Y* y, Factor factor, std::int64_t C, float eps) {
  float squares;
  if (y != nullptr) {
    squares = sum_over(C, [=](std::int64_t i) {
      const float exact = to_float(x[i]) + to_float(y[i]), s = to_float(from_float<S>(exact));
      sum[i] = from_float<S>(exact);
      return s * s;
    });
  } else {
    squares = sum_over(C, [=](std::int64_t i) {
      const float s = to_float(from_float<S>(to_float(x[i])));
      sum[i] = from_float<S>(to_float(x[i]));
      return s * s;
    });
  }
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(C) + eps);
#pragma omp simd
  for (std::int64_t i = 0; i < C; ++i) n[i] = from_float<O>(to_float(sum[i]) * rstd * factor(i));
  return rstd;
}

/// One row without y and without a place for the sum: x is what is normalised.
template <typename O, typename X>
inline float norm_row(O* n, const X* x, Factor factor, std::int64_t C, float eps) {
  const float squares = sum_over(C, [=](std::int64_t i) { return to_float(x[i]) * to_float(x[i]); });
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(C) + eps);
#pragma omp simd
  for (std::int64_t i = 0; i < C; ++i) n[i] = from_float<O>(to_float(x[i]) * rstd * factor(i));
  return rstd;
}

/// One row: dx += ..., or dx = ... with overwrite; dw += ...
template <typename D, typename G, typename S>
inline void backward_row(D* dx, float* dw, const G* dn, const S* sum, Factor factor, float rstd, bool overwrite,
                         std::int64_t C) {
  const float dot = sum_over(C, [=](std::int64_t i) {
    const float xhat = to_float(sum[i]) * rstd;
    const float d = to_float(dn[i]) * xhat;
    dw[i] += d;
    return d * factor(i);
  });
  const float mean = dot / static_cast<float>(C);
#pragma omp simd
  for (std::int64_t i = 0; i < C; ++i) {
    const float xhat = to_float(sum[i]) * rstd;
    const float before = overwrite ? 0.0f : to_float(dx[i]);
    dx[i] = from_float<D>(before + rstd * (to_float(dn[i]) * factor(i) - xhat * mean));
  }
}

template <typename S, typename X, typename Y, typename O>
void launch_forward(const OutputRows<O>& n, const Tensor& sum, float* rstd, const Tensor& x, const Tensor& y,
                    Factor factor, float eps) {
  const std::int64_t N = x.rows(), C = x.cols();
  for_row_ranges(N, even_parts(N, C), [&](std::int64_t first, std::int64_t last, int worker) {
    simd([&] {
      for (std::int64_t r = first; r < last; ++r) {
        rstd[r] = forward_row(row_of<S>(sum, r), n.begin(r, worker), row_of<X>(x, r), y ? row_of<Y>(y, r) : nullptr,
                              factor, C, eps);
        n.end(r, worker);
      }
    });
  });
}

template <typename X, typename O>
void launch_norm(const OutputRows<O>& n, float* rstd, const Tensor& x, Factor factor, float eps) {
  const std::int64_t N = x.rows(), C = x.cols();
  for_row_ranges(N, even_parts(N, C), [&](std::int64_t first, std::int64_t last, int worker) {
    simd([&] {
      for (std::int64_t r = first; r < last; ++r) {
        rstd[r] = norm_row(n.begin(r, worker), row_of<X>(x, r), factor, C, eps);
        n.end(r, worker);
      }
    });
  });
}

template <typename D, typename G, typename S>
void launch_backward(const Tensor& dx, float* dw, const Tensor& dn, const Tensor& sum, const float* rstd, Factor factor,
                     bool overwrite, float* partial) {
  const std::int64_t N = dx.rows(), C = dx.cols(), parts = row_parts(N);
  parallel_for(parts, [&](std::int64_t part) {
    float* dw_part = partial + part * C;
    std::fill_n(dw_part, C, 0.0f);
    simd([&] {
      for (std::int64_t r = part_begin(N, parts, part); r < part_begin(N, parts, part + 1); ++r)
        backward_row(row_of<D>(dx, r), dw_part, row_of<G>(dn, r), row_of<S>(sum, r), factor, rstd[r], overwrite, C);
    });
  });
  add_parts(dw, partial, parts, C);
}

}  // namespace

std::int64_t scratch_for(const ResidualRmsnormForward& args) {
  return row_buffer_bytes(args.n);
}

void CpuBackend::do_residual_rmsnorm_forward(const ResidualRmsnormForward& args) {
  const Tensor &sum = args.sum, &x = args.x, &y = args.y;
  // Without y, a sum that is x itself (or nothing) has nothing to store.
  const bool store = y || (sum && sum.data != x.data);
  auto* const rstd = args.rstd.as<float>();
  const Factor factor{args.w.as<float>(), args.offset};
  with_output(args.n, scratch(args), [&](const auto& rows) {
    with_act(x.dtype, [&](auto xt) {
      using X = decltype(xt);
      if (!store) return launch_norm<X>(rows, rstd, x, factor, args.eps);
      with_act(sum.dtype, [&](auto s) {
        with_act(y.dtype, [&](auto yt) {
          launch_forward<decltype(s), X, decltype(yt)>(rows, sum, rstd, x, y, factor, args.eps);
        });
      });
    });
  });
}

std::int64_t scratch_for(const ResidualRmsnormBackward& args) {
  return row_parts(args.dx.rows()) * args.dx.cols() * size_of(DType::f32);
}

void CpuBackend::do_residual_rmsnorm_backward(const ResidualRmsnormBackward& args) {
  auto* const partial = static_cast<float*>(scratch(args));
  with_act(args.dx.dtype, [&](auto d) {
    with_act(args.dn.dtype, [&](auto g) {
      with_act(args.sum.dtype, [&](auto s) {
        launch_backward<decltype(d), decltype(g), decltype(s)>(args.dx, args.dw.as<float>(), args.dn, args.sum,
                                                               args.rstd.as<float>(), {args.w.as<float>(), args.offset},
                                                               args.overwrite, partial);
      });
    });
  });
}

}  // namespace bittern::cpu
