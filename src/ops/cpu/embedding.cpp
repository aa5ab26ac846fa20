// embedding: out[n] = scale w[tokens[n]], w rounded to out's type first: a table in bf16 then gives the same bits
//   tokens (N) i32   w (V,C) f32|bf16|codes   out (N,C) f32|bf16   dw (V,C) f32   dout (N,C) f32|bf16
//   forward  overwrites out. Reads N rows of w, writes out.
//   backward dw[tokens[n]] += scale dout[n], ACCUMULATES dw. Reads dout and N rows of dw, writes these.
//            It does not need the rows grouped by token:
//            threads take ranges of columns, each goes through all tokens: every element is added to in the order of n,
//            so the bits depend on no split, equal tokens never meet, and a batch of one single token is as fast as any
//            other.
#include <algorithm>
#include <type_traits>

#include "ops/cpu/backend.h"
#include "ops/cpu/codes/decode.h"
#include "ops/cpu/machine/elements.h"
#include "ops/cpu/machine/row_parts.h"
#include "ops/cpu/machine/vector_math.h"

namespace bittern::cpu {
namespace {

template <typename O, typename W>
inline void convert_row(O* out, const W* w, float scale, std::int64_t C) {
#pragma omp simd
  for (std::int64_t i = 0; i < C; ++i) out[i] = from_float<O>(to_float(from_float<O>(to_float(w[i]))) * scale);
}

template <typename D>
inline void add_row(float* dw, const D* dout, float scale, std::int64_t C) {
#pragma omp simd
  for (std::int64_t i = 0; i < C; ++i) dw[i] += to_float(dout[i]) * scale;
}

// Rows of a table lie anywhere in memory: asking for them some tokens ahead hides the way there.
constexpr std::int64_t tokens_ahead = 8;

template <typename O, typename W>
void launch_forward(const Tensor& out, const Tensor& w, const std::int32_t* tokens, float scale) {
  const std::int64_t N = out.rows(), C = out.cols();
  for_row_ranges(N, even_parts(N, C), [&](std::int64_t first, std::int64_t last) {
    simd([&] {
      for (std::int64_t n = first; n < last; ++n) {
        if (n + tokens_ahead < last) prefetch(row_of<W>(w, tokens[n + tokens_ahead]), C);
        const W* const from = row_of<W>(w, tokens[n]);
        if constexpr (std::is_same_v<O, W>)
          if (scale == 1.0f) {
            std::copy_n(from, C, row_of<O>(out, n));
            continue;
          }
        convert_row(row_of<O>(out, n), from, scale, C);
      }
    });
  });
}

/// out = codes * row_scale, rounded, times scale; some hundred codes at a time.
template <typename O>
inline void decode_row(O* out, DType dtype, const void* codes, float row_scale, float scale, std::int64_t C) {
  constexpr std::int64_t some = 512;
  bf16 decoded[some];
  for (std::int64_t first = 0; first < C; first += some) {
    const std::int64_t n = std::min(some, C - first);
    decode(decoded, dtype, static_cast<const char*>(codes) + row_bytes(dtype, first), n);
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i)
      out[first + i] = from_float<O>(to_float(from_float<O>(to_float(decoded[i]) * row_scale)) * scale);
  }
}

template <typename O>
void launch_decode(const Tensor& out, const Tensor& w, const std::int32_t* tokens, float scale) {
  const std::int64_t N = out.rows(), C = out.cols(), row = row_bytes(w.dtype, C);
  for_row_ranges(N, even_parts(N, C), [&](std::int64_t first, std::int64_t last) {
    simd([&] {
      for (std::int64_t n = first; n < last; ++n) {
        if (n + tokens_ahead < last) prefetch(static_cast<const std::uint8_t*>(w.row(tokens[n + tokens_ahead])), row);
        decode_row(row_of<O>(out, n), w.dtype, w.row(tokens[n]), w.scales[tokens[n]], scale, C);
      }
    });
  });
}

template <typename D>
void launch_backward(const Tensor& dw, const Tensor& dout, const std::int32_t* tokens, float scale) {
  const std::int64_t N = dout.rows(), C = dout.cols();
  // Wide ranges read memory better, so there are only as many as threads; at least 64 columns each.
  const std::int64_t ranges = std::clamp<std::int64_t>(C / 64, 1, thread_count());
  for_row_ranges(C, ranges, [&](std::int64_t first, std::int64_t last) {
    simd([&] {
      const std::int64_t count = last - first;
      for (std::int64_t n = 0; n < N; ++n) {
        if (n + tokens_ahead < N) {
          prefetch(row_of<float>(dw, tokens[n + tokens_ahead]) + first, count);
          prefetch(row_of<D>(dout, n + tokens_ahead) + first, count);
        }
        add_row(row_of<float>(dw, tokens[n]) + first, row_of<D>(dout, n) + first, scale, count);
      }
    });
  });
}

}  // namespace

void CpuBackend::do_embedding_forward(const EmbeddingForward& args) {
  const auto* const tokens = args.tokens.as<std::int32_t>();
  with_act(args.out.dtype, [&](auto o) {
    if (is_quantized(args.w.dtype)) return launch_decode<decltype(o)>(args.out, args.w, tokens, args.scale);
    with_act(args.w.dtype,
             [&](auto t) { launch_forward<decltype(o), decltype(t)>(args.out, args.w, tokens, args.scale); });
  });
}

void CpuBackend::do_embedding_backward(const EmbeddingBackward& args) {
  with_act(args.dout.dtype, [&](auto d) {
    launch_backward<decltype(d)>(args.dw, args.dout, args.tokens.as<std::int32_t>(), args.scale);
  });
}

}  // namespace bittern::cpu
