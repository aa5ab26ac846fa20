// e4m3_rows: runs of E4M3 codes that share a scale: a row of a weight, a block of a moment. To be called inside simd().
#pragma once

#include <cstdint>

#include "bittern/quant/fp8.h"

namespace bittern::cpu {

/// to (n) = the values of codes (n).
inline void decode_e4m3_run(const std::uint8_t* codes, float scale, std::int64_t n, float* to) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) to[i] = e4m3_to_float(codes[i]) * scale;
}

/// codes (n) = x (n) times the inverse of the scale, rounded by random words (n), or to nearest where there are none.
inline void encode_e4m3_run(const float* x, float inverse, const std::uint32_t* words, std::int64_t n,
                            std::uint8_t* codes) {
  if (words != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) codes[i] = to_e4m3_stochastic(x[i] * inverse, words[i]);
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) codes[i] = to_e4m3(x[i] * inverse);
  }
}

}  // namespace bittern::cpu
