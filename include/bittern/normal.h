// fill_normal: values[i] = deviation * N(0, 1), addressed: element i is a pure function of (key, stream, i).
//
// Box-Muller (1958) in double precision on the two halves of Philox block i / 4:
//   u1 = (w0 + 1) / 2^32   u2 = w1 / 2^32   r = deviation * sqrt(-2 ln u1)
//   v0 = r cos(2 pi u2)    v1 = r sin(2 pi u2)
// Made on the host, on all threads of the CPU back end; the bits do not depend on their number.
#pragma once

#include <cstdint>
#include <span>

#include "bittern/quant/philox.h"

namespace bittern {

void fill_normal(std::span<float> values, double deviation, PhiloxKey key, std::uint32_t stream);

}  // namespace bittern
