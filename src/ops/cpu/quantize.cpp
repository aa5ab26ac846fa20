// quantize: activations as codes, row by row (a token each), nearest even.
//   x (N,C) f32|bf16   q (N,C) fp8_e4m3: scale = absmax / 448, 1 where absmax is 0
//                              i8:       scale = max(absmax, 1e-5) / 127              (BitNet b1.58, section 2)
//   code = nearest(x * (1 / scale)), which cannot leave the range. A row with an infinity or a NaN gets the scale NaN,
//   so that all of its products show it and no other row's do; its codes are those of a NaN.
//   overwrites q and its scales. Reads x, writes N C bytes: a row is read from memory once and from a cache again.
// Backward is the identity (straight-through).
#include <cstdint>

#include "bittern/profile.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/checked.h"
#include "ops/cpu/codes/quantize_rows.h"
#include "ops/cpu/machine/row_parts.h"

namespace bittern::cpu {
namespace {

template <typename T>
void launch(const Tensor& q, const Tensor& x) {
  const std::int64_t N = x.rows(), C = x.cols();
  for_row_ranges(N, even_parts(N, C), [&](std::int64_t first, std::int64_t last) {
    simd([&] {
      for (std::int64_t n = first; n < last; ++n) quantize_row(q, n, row_of<T>(x, n));
    });
  });
}

}  // namespace

void CpuBackend::quantize(const Tensor& q, const Tensor& x) {
  constexpr std::string_view op = "quantize";
  Checked{op, "x", x}.act().matrix(x.rows(), x.cols());
  Checked{op, "q", q}.quantized_act().matrix(x.rows(), x.cols());
  const OpScope scope(op, bytes_of(x) + bytes_of(q));
  with_act(x.dtype, [&](auto t) { launch<decltype(t)>(q, x); });
}

}  // namespace bittern::cpu
