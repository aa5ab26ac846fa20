// Attention in double precision, written from the formulas alone, and the cases that it is compared on.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "bittern/ops.h"
#include "bittern/quant/philox.h"

namespace bittern::test {

struct AttentionCase {
  AttentionShape shape;
  DType dtype = DType::f32;
  float logit_scale = 1.0f;  ///< factor on queries
  AttentionScores scores{};

  std::int64_t rows() const { return shape.batch * shape.sequence_length; }
  std::int64_t out_cols() const { return shape.heads * shape.head_dim; }
  /// A bound for f32: tanh in fp32 errs by some 1e-7 of the cap, which are errors of the exponents.
  double bound(double without_cap) const { return without_cap + 2e-7 * double{scores.softcap}; }
  std::string text() const {
    return fmt::format("B{} T{} H{} KV{} D{} {} x{}{}{}{}", shape.batch, shape.sequence_length, shape.heads,
                       shape.kv_heads, shape.head_dim, name(dtype), logit_scale,
                       scores.scale > 0.0f ? fmt::format(" scale {}", scores.scale) : "",
                       scores.softcap > 0.0f ? fmt::format(" cap {}", scores.softcap) : "",
                       scores.window > 0 ? fmt::format(" window {}", scores.window) : "");
  }
};

/// A matrix that owns its elements, f32 or bf16.
struct Matrix {
  std::vector<char> bytes;
  Tensor tensor;

  Matrix(DType dtype, std::int64_t rows, std::int64_t cols)
      : bytes(static_cast<std::size_t>(rows * cols * size_of(dtype)), char(0x5a)),
        tensor(bytes.data(), dtype, {rows, cols}) {}
  Matrix(const Matrix& other) : bytes(other.bytes), tensor(other.tensor) { tensor.data = bytes.data(); }
  Matrix& operator=(const Matrix&) = delete;

  float get(std::int64_t i) const {
    return tensor.dtype == DType::bf16 ? to_float(tensor.as<bf16>()[i]) : tensor.as<float>()[i];
  }
  void set(std::int64_t i, float x) {
    if (tensor.dtype == DType::bf16)
      tensor.as<bf16>()[i] = to_bf16(x);
    else
      tensor.as<float>()[i] = x;
  }
  std::vector<double> doubles() const {
    std::vector<double> all(static_cast<std::size_t>(tensor.elements()));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<double>(get(static_cast<std::int64_t>(i)));
    return all;
  }
};

/// About normal (variance 1): the sum of three uniform numbers from a hash of the index.
inline float pseudo_normal(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t x = seed * 0x9e3779b97f4a7c15ull + index + 1;
  float sum = 0.0f;
  for (int i = 0; i < 3; ++i) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    x ^= x >> 31;
    sum += static_cast<float>(x >> 40) * 0x1p-24f * 2.0f - 1.0f;
  }
  return sum;
}

inline Matrix random_matrix(DType dtype, std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  Matrix m(dtype, rows, cols);
  for (std::int64_t i = 0; i < rows * cols; ++i) m.set(i, pseudo_normal(seed, static_cast<std::uint64_t>(i)));
  return m;
}

inline Matrix random_qkv(const AttentionCase& c, std::uint64_t seed = 1) {
  Matrix qkv = random_matrix(c.dtype, c.rows(), c.shape.packed(), seed);
  for (std::int64_t r = 0; r < c.rows(); ++r)
    for (std::int64_t i = 0; i < c.out_cols(); ++i)
      qkv.set(r * c.shape.packed() + i, qkv.get(r * c.shape.packed() + i) * c.logit_scale);
  return qkv;
}

struct AttentionReference {
  std::vector<double> out, lse, dqkv;

  /// dout may be empty: forward only.
  AttentionReference(const AttentionShape& s, const std::vector<double>& qkv, const std::vector<double>& dout,
                     const AttentionScores& scores = {})
      : out(static_cast<std::size_t>(s.batch * s.sequence_length * s.heads * s.head_dim)),
        lse(static_cast<std::size_t>(s.batch * s.heads * s.sequence_length)),
        dqkv(dout.empty() ? 0 : qkv.size()) {
    const std::int64_t T = s.sequence_length, D = s.head_dim, P = s.packed(), C = s.heads * D;
    const double scale = scores.scale > 0.0f ? double{scores.scale} : 1.0 / std::sqrt(static_cast<double>(D));
    const double cap = double{scores.softcap};
    std::vector<double> slope(static_cast<std::size_t>(T), 1.0);
    std::vector<double> p(static_cast<std::size_t>(T));
    for (std::int64_t b = 0; b < s.batch; ++b)
      for (std::int64_t h = 0; h < s.heads; ++h)
        for (std::int64_t i = 0; i < T; ++i) {
          const std::int64_t kv = h / (s.heads / s.kv_heads);
          const double* q = &qkv[static_cast<std::size_t>((b * T + i) * P + h * D)];
          const double* k = &qkv[static_cast<std::size_t>(b * T * P + (s.heads + kv) * D)];
          const double* v = k + s.kv_heads * D;
          double most = -INFINITY, sum = 0;
          const std::int64_t first = scores.window > 0 ? std::max<std::int64_t>(i + 1 - scores.window, 0) : 0;
          for (std::int64_t j = first; j <= i; ++j) {
            double dot = 0;
            for (std::int64_t d = 0; d < D; ++d) dot += q[d] * k[j * P + d];
            double score = dot * scale;
            if (cap > 0) {
              const double t = std::tanh(score / cap);
              score = cap * t;
              slope[static_cast<std::size_t>(j)] = 1 - t * t;
            }
            p[static_cast<std::size_t>(j)] = score;
            most = std::max(most, score);
          }
          for (std::int64_t j = first; j <= i; ++j)
            sum += p[static_cast<std::size_t>(j)] = std::exp(p[static_cast<std::size_t>(j)] - most);
          lse[static_cast<std::size_t>((b * s.heads + h) * T + i)] = most + std::log(sum);
          double* o = &out[static_cast<std::size_t>((b * T + i) * C + h * D)];
          for (std::int64_t j = first; j <= i; ++j) {
            p[static_cast<std::size_t>(j)] /= sum;
            for (std::int64_t d = 0; d < D; ++d) o[d] += p[static_cast<std::size_t>(j)] * v[j * P + d];
          }
          if (dout.empty()) continue;
          const double* go = &dout[static_cast<std::size_t>((b * T + i) * C + h * D)];
          double* dq = &dqkv[static_cast<std::size_t>((b * T + i) * P + h * D)];
          double* dk = &dqkv[static_cast<std::size_t>(b * T * P + (s.heads + kv) * D)];
          double* dv = dk + s.kv_heads * D;
          double delta = 0;
          for (std::int64_t d = 0; d < D; ++d) delta += go[d] * o[d];
          for (std::int64_t j = first; j <= i; ++j) {
            double dp = 0;
            for (std::int64_t d = 0; d < D; ++d) dp += go[d] * v[j * P + d];
            const double weight = p[static_cast<std::size_t>(j)],
                         ds = weight * (dp - delta) * slope[static_cast<std::size_t>(j)] * scale;
            for (std::int64_t d = 0; d < D; ++d) {
              dv[j * P + d] += weight * go[d];
              dq[d] += ds * k[j * P + d];
              dk[j * P + d] += ds * q[d];
            }
          }
        }
  }
};

/// The largest error over the largest value.
template <class Actual>
double relative_error(const Actual& actual, const std::vector<double>& expected) {
  double error = 0, size = 1e-30;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(static_cast<double>(actual(static_cast<std::int64_t>(i))) - expected[i]);
    if (!(difference <= error)) error = difference;  // a NaN becomes the error
    size = std::max(size, std::abs(expected[i]));
    if (std::isnan(error)) break;
  }
  return error / size;
}

}  // namespace bittern::test
