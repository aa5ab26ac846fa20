// qk_norm_rope: each head of q and k is (if asked) normalised by RMS over its D elements and scaled, then rotated by
// position (rotary embedding: Su et al. 2021, in the halves form of Hugging Face's LLaMA):
//   v = x * rstd * (offset + w), rstd = 1 / sqrt(mean(x^2) + eps)     (a, b) -> (a cos - b sin, b cos + a sin), a, b v's halves
//   qkv (N,packed) f32|bf16, rows [q (H*D) | k (KV*D) | v]   rope (T_max,D) f32
//   row n has position first_position + n % T
//   forward  without norm: OVERWRITES q and k of qkv in place. Reads and writes q and k.
//            with norm: reads qkv_raw (N,packed), which is kept for backward, OVERWRITES qkv (v is copied) and
//            q_norm_rstd (N,H+KV). Reads and writes packed rows. Memory-bound, both.
//   backward OVERWRITES dq and dk in dqkv; ACCUMULATES dq_norm, dk_norm (D) (in row_parts).
//            Reads and writes dq, dk (and reads raw q, k).
#include <algorithm>
#include <cmath>

#include "ops/cpu/backend.h"
#include "ops/cpu/machine/elements.h"
#include "ops/cpu/machine/row_parts.h"
#include "ops/cpu/machine/vector_math.h"

namespace bittern::cpu {
namespace {

/// In place: (a, b) -> (a cos - b sin, b cos + a sin)
template <typename T>
inline void rotate(T* x, const float* cosine, const float* sine, std::int64_t half) {
#pragma omp simd
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = to_float(x[i]), b = to_float(x[i + half]);
    x[i] = from_float<T>(a * cosine[i] - b * sine[i]);
    x[i + half] = from_float<T>(b * cosine[i] + a * sine[i]);
  }
}

/// The transpose of rotate, which is its inverse.
template <typename T>
inline void rotate_back(T* x, const float* cosine, const float* sine, std::int64_t half) {
#pragma omp simd
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = to_float(x[i]), b = to_float(x[i + half]);
    x[i] = from_float<T>(a * cosine[i] + b * sine[i]);
    x[i + half] = from_float<T>(b * cosine[i] - a * sine[i]);
  }
}

/// What a normalised head is multiplied by.
struct Factor {
  const float* w;
  float offset;
  float operator()(std::int64_t i) const { return offset + w[i]; }
};

/// y = rotated x * rstd * factor, rounded once. Returns rstd.
template <typename T, typename R>
inline float norm_rotate(T* y, const R* x, Factor factor, const float* cosine, const float* sine, std::int64_t half,
                         float eps) {
  const float squares = sum_over(2 * half, [=](std::int64_t i) { return to_float(x[i]) * to_float(x[i]); });
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(2 * half) + eps);
#pragma omp simd
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = to_float(x[i]) * rstd * factor(i), b = to_float(x[i + half]) * rstd * factor(i + half);
    y[i] = from_float<T>(a * cosine[i] - b * sine[i]);
    y[i + half] = from_float<T>(b * cosine[i] + a * sine[i]);
  }
  return rstd;
}

/// dx: gradient of the rotated values -> gradient of raw; dw += . Rotates back twice rather than keep the fp32 values.
template <typename D, typename R>
inline void norm_rotate_back(D* dx, float* dw, const R* raw, Factor factor, float rstd, const float* cosine,
                             const float* sine, std::int64_t half) {
  const float dot = sum_over(half, [=](std::int64_t i) {
    const float a = to_float(dx[i]), b = to_float(dx[i + half]);
    const float da = (a * cosine[i] + b * sine[i]) * (to_float(raw[i]) * rstd);
    const float db = (b * cosine[i] - a * sine[i]) * (to_float(raw[i + half]) * rstd);
    dw[i] += da;
    dw[i + half] += db;
    return da * factor(i) + db * factor(i + half);
  });
  const float mean = dot / static_cast<float>(2 * half);
#pragma omp simd
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = to_float(dx[i]), b = to_float(dx[i + half]);
    const float da = (a * cosine[i] + b * sine[i]) * factor(i);
    const float db = (b * cosine[i] - a * sine[i]) * factor(i + half);
    dx[i] = from_float<D>(rstd * (da - to_float(raw[i]) * rstd * mean));
    dx[i + half] = from_float<D>(rstd * (db - to_float(raw[i + half]) * rstd * mean));
  }
}

enum class Turn { forward, back };

/// The row of the rope table that a sequence begins at.
const float* first_row(const Tensor& rope, std::int64_t first_position) {
  return rope.as<float>() + first_position * rope.cols();
}

/// qkv, turned where it is. `rope`: the row of the first position.
template <typename T>
void launch_rotate(const Tensor& qkv, const AttentionShape& s, const float* rope, Turn turn) {
  const std::int64_t N = s.batch * s.sequence_length, D = s.head_dim, half = D / 2, heads = s.heads + s.kv_heads;
  for_row_ranges(N, even_parts(N, heads * D), [&](std::int64_t first, std::int64_t last) {
    simd([&] {
      for (std::int64_t n = first; n < last; ++n) {
        T* row = row_of<T>(qkv, n);
        const float* cosine = rope + n % s.sequence_length * D;
        for (std::int64_t h = 0; h < heads; ++h) {
          // v makes a hole in what is read, at which the machine's own prefetching stops: 1.5 to 2.2 times as fast,
          // Zen 4.
          prefetch(row + qkv.row_stride + h * D, D);
          if (turn == Turn::forward)
            rotate(row + h * D, cosine, cosine + half, half);
          else
            rotate_back(row + h * D, cosine, cosine + half, half);
        }
      }
    });
  });
}

template <typename T, typename R>
void launch_norm_forward(const QkNormRopeForward& args) {
  const AttentionShape& s = args.shape;
  const std::int64_t N = s.batch * s.sequence_length, D = s.head_dim, half = D / 2, heads = s.heads + s.kv_heads;
  const auto* rope = first_row(args.rope, args.first_position);
  auto* rstd = args.q_norm_rstd.as<float>();
  const auto* q_norm = args.q_norm.as<float>();
  const auto* k_norm = args.k_norm.as<float>();
  for_row_ranges(N, even_parts(N, s.packed()), [&](std::int64_t first, std::int64_t last) {
    simd([&] {
      for (std::int64_t n = first; n < last; ++n) {
        T* row = row_of<T>(args.qkv, n);
        const R* raw = row_of<R>(args.qkv_raw, n);
        const float* cosine = rope + n % s.sequence_length * D;
        for (std::int64_t h = 0; h < heads; ++h)
          rstd[n * heads + h] =
              norm_rotate(row + h * D, raw + h * D, Factor{h < s.heads ? q_norm : k_norm, args.offset}, cosine,
                          cosine + half, half, args.eps);
#pragma omp simd
        for (std::int64_t i = heads * D; i < s.packed(); ++i) row[i] = from_float<T>(to_float(raw[i]));
      }
    });
  });
}

template <typename T, typename R>
void launch_norm_backward(const QkNormRopeBackward& args, float* partial) {
  const AttentionShape& s = args.shape;
  const std::int64_t N = s.batch * s.sequence_length, D = s.head_dim, half = D / 2, heads = s.heads + s.kv_heads;
  const auto* rope = first_row(args.rope, args.first_position);
  const auto* rstd = args.q_norm_rstd.as<float>();
  const auto* q_norm = args.q_norm.as<float>();
  const auto* k_norm = args.k_norm.as<float>();
  // partial: parts x D for q, then parts x D for k
  const std::int64_t parts = row_parts(N);
  parallel_for(parts, [&](std::int64_t part) {
    float *dq = partial + part * D, *dk = partial + (parts + part) * D;
    std::fill_n(dq, D, 0.0f);
    std::fill_n(dk, D, 0.0f);
    simd([&] {
      for (std::int64_t n = part_begin(N, parts, part); n < part_begin(N, parts, part + 1); ++n) {
        T* row = row_of<T>(args.dqkv, n);
        const R* raw = row_of<R>(args.qkv_raw, n);
        const float* cosine = rope + n % s.sequence_length * D;
        for (std::int64_t h = 0; h < heads; ++h) {
          const bool is_q = h < s.heads;
          prefetch(row + args.dqkv.row_stride + h * D, D);
          prefetch(raw + args.qkv_raw.row_stride + h * D, D);
          norm_rotate_back(row + h * D, is_q ? dq : dk, raw + h * D, Factor{is_q ? q_norm : k_norm, args.offset},
                           rstd[n * heads + h], cosine, cosine + half, half);
        }
      }
    });
  });
  add_parts(args.dq_norm.as<float>(), partial, parts, D);
  add_parts(args.dk_norm.as<float>(), partial + parts * D, parts, D);
}

}  // namespace

void CpuBackend::do_qk_norm_rope_forward(const QkNormRopeForward& args) {
  with_act(args.qkv.dtype, [&](auto t) {
    if (!args.q_norm)
      return launch_rotate<decltype(t)>(args.qkv, args.shape, first_row(args.rope, args.first_position), Turn::forward);
    with_act(args.qkv_raw.dtype, [&](auto r) { launch_norm_forward<decltype(t), decltype(r)>(args); });
  });
}

std::int64_t scratch_for(const QkNormRopeBackward& args) {
  if (!args.q_norm) return 0;
  return row_parts(args.shape.rows()) * 2 * args.shape.head_dim * size_of(DType::f32);
}

void CpuBackend::do_qk_norm_rope_backward(const QkNormRopeBackward& args) {
  if (!args.q_norm)
    return with_act(args.dqkv.dtype, [&](auto t) {
      launch_rotate<decltype(t)>(args.dqkv, args.shape, first_row(args.rope, args.first_position), Turn::back);
    });
  auto* const partial = static_cast<float*>(scratch(args));
  with_act(args.dqkv.dtype, [&](auto t) {
    with_act(args.qkv_raw.dtype, [&](auto r) { launch_norm_backward<decltype(t), decltype(r)>(args, partial); });
  });
}

}  // namespace bittern::cpu
