// residual_rmsnorm: sum = x + y;  n = sum * rstd * w,  rstd = 1 / sqrt(mean(sum^2) + eps)     (Zhang & Sennrich 2019)
//   x, y, sum, n (N,C) f32|bf16 in any mix; n may also be codes of activations   w (C) f32   rstd (N) f32, kept for
//   backward
//   forward  overwrites sum, n, rstd. y may be empty: sum = x (and sum may then be empty too: nothing is stored).
//            sum may be x's memory. The norm is of the stored sum. Reads x, y, writes sum, n: memory-bound.
//   backward with xhat = sum * rstd, g = dn * w:
//            dx += rstd * (g - xhat * mean(g * xhat))      dw += sum over rows of dn * xhat
//            ACCUMULATES both (dw in row_parts). Reads dx, dn, sum, writes dx.
#include <algorithm>
#include <cmath>

#include "bittern/profile.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/checked.h"
#include "ops/cpu/codes/quantize_rows.h"
#include "ops/cpu/machine/row_parts.h"
#include "ops/cpu/machine/vector_math.h"

namespace bittern::cpu {
namespace {

/// One row. Returns rstd. Y: the type of y, or void* for none; sum may be null without y.
template <typename S, typename O, typename X, typename Y>
inline float forward_row(S* sum, O* n, const X* x, const Y* y, const float* w, std::int64_t C, float eps) {
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
  for (std::int64_t i = 0; i < C; ++i) n[i] = from_float<O>(to_float(sum[i]) * rstd * w[i]);
  return rstd;
}

/// One row without y and without a place for the sum: x is what is normalised.
template <typename O, typename X>
inline float norm_row(O* n, const X* x, const float* w, std::int64_t C, float eps) {
  const float squares = sum_over(C, [=](std::int64_t i) { return to_float(x[i]) * to_float(x[i]); });
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(C) + eps);
#pragma omp simd
  for (std::int64_t i = 0; i < C; ++i) n[i] = from_float<O>(to_float(x[i]) * rstd * w[i]);
  return rstd;
}

/// One row: dx += ..., dw += ...
template <typename D, typename G, typename S>
inline void backward_row(D* dx, float* dw, const G* dn, const S* sum, const float* w, float rstd, std::int64_t C) {
  const float dot = sum_over(C, [=](std::int64_t i) {
    const float xhat = to_float(sum[i]) * rstd;
    const float d = to_float(dn[i]) * xhat;
    dw[i] += d;
    return d * w[i];
  });
  const float mean = dot / static_cast<float>(C);
#pragma omp simd
  for (std::int64_t i = 0; i < C; ++i) {
    const float xhat = to_float(sum[i]) * rstd;
    dx[i] = from_float<D>(to_float(dx[i]) + rstd * (to_float(dn[i]) * w[i] - xhat * mean));
  }
}

template <typename S, typename X, typename Y, typename O>
void launch_forward(const OutputRows<O>& n, const Tensor& sum, float* rstd, const Tensor& x, const Tensor& y,
                    const float* w, float eps) {
  const std::int64_t N = x.rows(), C = x.cols();
  for_row_ranges(N, even_parts(N, C), [&](std::int64_t first, std::int64_t last, int worker) {
    simd([&] {
      for (std::int64_t r = first; r < last; ++r) {
        rstd[r] = forward_row(row_of<S>(sum, r), n.begin(r, worker), row_of<X>(x, r), y ? row_of<Y>(y, r) : nullptr, w,
                              C, eps);
        n.end(r, worker);
      }
    });
  });
}

template <typename X, typename O>
void launch_norm(const OutputRows<O>& n, float* rstd, const Tensor& x, const float* w, float eps) {
  const std::int64_t N = x.rows(), C = x.cols();
  for_row_ranges(N, even_parts(N, C), [&](std::int64_t first, std::int64_t last, int worker) {
    simd([&] {
      for (std::int64_t r = first; r < last; ++r) {
        rstd[r] = norm_row(n.begin(r, worker), row_of<X>(x, r), w, C, eps);
        n.end(r, worker);
      }
    });
  });
}

template <typename D, typename G, typename S>
void launch_backward(const Tensor& dx, float* dw, const Tensor& dn, const Tensor& sum, const float* rstd,
                     const float* w, float* partial) {
  const std::int64_t N = dx.rows(), C = dx.cols(), parts = row_parts(N);
  parallel_for(parts, [&](std::int64_t part) {
    float* dw_part = partial + part * C;
    std::fill_n(dw_part, C, 0.0f);
    simd([&] {
      for (std::int64_t r = part_begin(N, parts, part); r < part_begin(N, parts, part + 1); ++r)
        backward_row(row_of<D>(dx, r), dw_part, row_of<G>(dn, r), row_of<S>(sum, r), w, rstd[r], C);
    });
  });
  add_parts(dw, partial, parts, C);
}

}  // namespace

void CpuBackend::residual_rmsnorm_forward(const Tensor& sum, const Tensor& n, const Tensor& rstd, const Tensor& x,
                                          const Tensor& y, const Tensor& w, float eps) {
  constexpr std::string_view op = "residual_rmsnorm_forward";
  const std::int64_t N = x.rows(), C = x.cols();
  Checked{op, "x", x}.act().matrix(N, C);
  Checked{op, "n", n}.act_or_quantized().matrix(N, C);
  Checked{op, "rstd", rstd}.of(DType::f32).vector(N);
  Checked{op, "w", w}.of(DType::f32).vector(C);
  if (y) Checked{op, "y", y}.act().matrix(N, C);
  if (y || sum) Checked{op, "sum", sum}.act().matrix(N, C);
  check(!sum || sum.data != x.data || sum.dtype == x.dtype, "{}: sum in x's memory must have x's type {}, got {}", op,
        name(x.dtype), name(sum.dtype));
  // Without y, a sum that is x itself (or nothing) has nothing to store.
  const bool store = y || (sum && sum.data != x.data);
  const OpScope scope(op, bytes_of(x) + bytes_of(y) + (store ? bytes_of(sum) : 0.0) + bytes_of(n));
  auto* rstd_data = rstd.as<float>();
  const auto* w_data = w.as<float>();
  with_output(n, row_buffers(op, n), [&](const auto& rows) {
    with_act(x.dtype, [&](auto xt) {
      using X = decltype(xt);
      if (!store) return launch_norm<X>(rows, rstd_data, x, w_data, eps);
      with_act(sum.dtype, [&](auto s) {
        with_act(y.dtype, [&](auto yt) {
          launch_forward<decltype(s), X, decltype(yt)>(rows, sum, rstd_data, x, y, w_data, eps);
        });
      });
    });
  });
}

void CpuBackend::residual_rmsnorm_backward(const Tensor& dx, const Tensor& dw, const Tensor& dn, const Tensor& sum,
                                           const Tensor& rstd, const Tensor& w) {
  constexpr std::string_view op = "residual_rmsnorm_backward";
  const std::int64_t N = dx.rows(), C = dx.cols();
  Checked{op, "dx", dx}.act().matrix(N, C);
  Checked{op, "dn", dn}.act().matrix(N, C);
  Checked{op, "sum", sum}.act().matrix(N, C);
  Checked{op, "dw", dw}.of(DType::f32).vector(C);
  Checked{op, "rstd", rstd}.of(DType::f32).vector(N);
  Checked{op, "w", w}.of(DType::f32).vector(C);
  const OpScope scope(op, 2 * bytes_of(dx) + bytes_of(dn) + bytes_of(sum));
  auto* partial = static_cast<float*>(scratch(op, row_parts(N) * C * size_of(DType::f32)));
  with_act(dx.dtype, [&](auto d) {
    with_act(dn.dtype, [&](auto g) {
      with_act(sum.dtype, [&](auto s) {
        launch_backward<decltype(d), decltype(g), decltype(s)>(dx, dw.as<float>(), dn, sum, rstd.as<float>(),
                                                               w.as<float>(), partial);
      });
    });
  });
}

}  // namespace bittern::cpu
