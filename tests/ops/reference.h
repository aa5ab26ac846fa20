// What every op means, in double precision and as plainly as possible: the other side of every comparison. Matrices are
// row-major vectors without gaps. A test holds each backward against numeric differences of its forward.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <vector>

namespace bittern::reference {

using Values = std::vector<double>;

/// d loss / d x by central differences.
inline Values numeric_gradient(const std::function<double(const Values&)>& loss, Values x, double step = 1e-5) {
  Values gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + step;
    const double above = loss(x);
    x[i] = at - step;
    const double below = loss(x);
    x[i] = at;
    gradient[i] = (above - below) / (2 * step);
  }
  return gradient;
}

inline double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline Values add(const Values& a, const Values& b) {
  Values out(a.size());
  std::transform(a.begin(), a.end(), b.begin(), out.begin(), std::plus<>());
  return out;
}

// ---- rmsnorm of rows of width C

struct Rmsnorm {
  Values n, rstd;
};
inline Rmsnorm rmsnorm(const Values& x, const Values& w, double eps) {
  const std::size_t C = w.size(), N = x.size() / C;
  Rmsnorm out{Values(x.size()), Values(N)};
  for (std::size_t r = 0; r < N; ++r) {
    double squares = 0;
    for (std::size_t i = 0; i < C; ++i) squares += x[r * C + i] * x[r * C + i];
    out.rstd[r] = 1 / std::sqrt(squares / static_cast<double>(C) + eps);
    for (std::size_t i = 0; i < C; ++i) out.n[r * C + i] = x[r * C + i] * out.rstd[r] * w[i];
  }
  return out;
}

struct RmsnormGradient {
  Values dx, dw;
};
inline RmsnormGradient rmsnorm_backward(const Values& dn, const Values& x, const Values& w, double eps) {
  const std::size_t C = w.size(), N = x.size() / C;
  const Values rstd = rmsnorm(x, w, eps).rstd;
  RmsnormGradient out{Values(x.size()), Values(C)};
  for (std::size_t r = 0; r < N; ++r) {
    double mean = 0;
    for (std::size_t i = 0; i < C; ++i) {
      const double xhat = x[r * C + i] * rstd[r];
      out.dw[i] += dn[r * C + i] * xhat;
      mean += dn[r * C + i] * w[i] * xhat / static_cast<double>(C);
    }
    for (std::size_t i = 0; i < C; ++i)
      out.dx[r * C + i] = rstd[r] * (dn[r * C + i] * w[i] - x[r * C + i] * rstd[r] * mean);
  }
  return out;
}

// ---- rope on one head's vector of even length, and its transpose (sign -1)

inline Values rotate(const Values& x, const Values& cosine, const Values& sine, double sign = 1) {
  const std::size_t half = x.size() / 2;
  Values out(x.size());
  for (std::size_t i = 0; i < half; ++i) {
    out[i] = x[i] * cosine[i] - sign * x[i + half] * sine[i];
    out[i + half] = x[i + half] * cosine[i] + sign * x[i] * sine[i];
  }
  return out;
}

// ---- glu of one row: gate and up of width F

inline double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

struct ActivationValue {
  double of, slope;
};
inline ActivationValue silu(double g) {
  const double s = sigmoid(g);
  return {g * s, s + g * s * (1 - s)};
}
inline ActivationValue gelu_tanh(double g) {
  const double root = std::sqrt(2 / 3.14159265358979323846);
  const double t = std::tanh(root * (g + 0.044715 * g * g * g));
  return {0.5 * g * (1 + t), 0.5 * (1 + t) + 0.5 * g * (1 - t * t) * root * (1 + 3 * 0.044715 * g * g)};
}

inline Values glu(ActivationValue (&activation)(double), const Values& gate, const Values& up) {
  Values out(gate.size());
  for (std::size_t i = 0; i < gate.size(); ++i) out[i] = activation(gate[i]).of * up[i];
  return out;
}
struct GluGradient {
  Values dgate, dup;
};
inline GluGradient glu_backward(ActivationValue (&activation)(double), const Values& gate, const Values& up,
                                const Values& dout) {
  GluGradient out{Values(gate.size()), Values(gate.size())};
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const ActivationValue a = activation(gate[i]);
    out.dgate[i] = dout[i] * up[i] * a.slope;
    out.dup[i] = dout[i] * a.of;
  }
  return out;
}

// ---- cross entropy of one row

struct CrossEntropy {
  double lse, loss;
  Values dlogits;  ///< of loss + z_loss * lse^2, times scale
};
/// softcap: 0, or that of the logits, cap tanh(logits / cap).
inline CrossEntropy cross_entropy(const Values& logits, std::size_t target, double scale, double z_loss,
                                  double softcap = 0) {
  if (softcap > 0) {
    Values capped;
    for (const double x : logits) capped.push_back(softcap * std::tanh(x / softcap));
    CrossEntropy out = cross_entropy(capped, target, scale, z_loss);
    for (std::size_t i = 0; i < logits.size(); ++i) out.dlogits[i] *= 1 - capped[i] * capped[i] / softcap / softcap;
    return out;
  }
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - largest);
  CrossEntropy out{.lse = largest + std::log(sum), .loss = 0, .dlogits = Values(logits.size())};
  out.loss = out.lse - logits[target];
  for (std::size_t i = 0; i < logits.size(); ++i)
    out.dlogits[i] = scale * (std::exp(logits[i] - out.lse) * (1 + 2 * z_loss * out.lse) - (i == target ? 1.0 : 0.0));
  return out;
}

// ---- matrices

/// c (M,N) = a (M,K) b (N,K)^T
inline Values multiply_transposed(const Values& a, const Values& b, std::size_t M, std::size_t N, std::size_t K) {
  Values c(M * N);
  for (std::size_t m = 0; m < M; ++m)
    for (std::size_t n = 0; n < N; ++n)
      for (std::size_t k = 0; k < K; ++k) c[m * N + n] += a[m * K + k] * b[n * K + k];
  return c;
}

inline Values transpose(const Values& a, std::size_t rows, std::size_t cols) {
  Values out(a.size());
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c) out[c * rows + r] = a[r * cols + c];
  return out;
}

inline Values column_sums(const Values& a, std::size_t cols) {
  Values out(cols);
  for (std::size_t i = 0; i < a.size(); ++i) out[i % cols] += a[i];
  return out;
}

}  // namespace bittern::reference
