// small_codebook: codes and values of up to 16 levels, whose tables fit into a vector's register: a look-up is then one
// instruction on sixteen elements, and the nearest of sixteen levels is found by four comparisons instead of fifteen.
// Plain loops where AVX-512 is not in use. Rows of elements; no parallelism.
#pragma once

#include <cstdint>

#include "bittern/quant/codebook.h"

namespace bittern::cpu {

/// codes (n) of the levels nearest to x (n); with `random` (n words) one of the two levels beside x (stochastic_code).
void find_codes(const Codebook& book, const float* x, const std::uint32_t* random, std::int64_t n, std::uint8_t* codes);

/// out (n) = level[codes] * scale. `level` has 2^bits numbers, bits <= 4.
void look_up(const float* level, int bits, const std::uint8_t* codes, float scale, std::int64_t n, float* out);

}  // namespace bittern::cpu
