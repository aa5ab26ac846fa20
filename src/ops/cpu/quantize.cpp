// quantize: activations as codes, row by row (a token each), nearest even.
//   x (N,C) f32|bf16   q (N,C) fp8_e4m3: scale = absmax / 448, 1 where absmax is 0
//                              i8:       scale = max(absmax, 1e-5) / 127              (BitNet b1.58, section 2)
//   code = nearest(x * (1 / scale)), which cannot leave the range. A row with an infinity or a NaN gets the scale NaN,
//   so that all of its products show it and no other row's do; its codes are those of a NaN.
//   overwrites q and its scales. Reads x, writes N C bytes: a row is read from memory once and from a cache again.
// Backward is the identity (straight-through).
#include <cstdint>

#include "ops/cpu/backend.h"
#include "ops/cpu/codes/quantize_rows.h"
#include "ops/cpu/machine/elements.h"
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

void CpuBackend::do_quantize(const Quantize& args) {
  with_act(args.x.dtype, [&](auto t) { launch<decltype(t)>(args.q, args.x); });
}

}  // namespace bittern::cpu
