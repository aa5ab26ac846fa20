// codebook_codes: rows of values to the codes of a codebook (quant/codebook.h) and back. A table of up to 16 levels
// fits into one register of AVX-512, or two of AVX2, so that a look-up is a permutation of vectors, and the nearest
// level is found by four comparisons instead of fifteen; with AVX-512, larger tables are gathered from. Plain loops
// elsewhere. No parallelism.
#pragma once

#include <cstdint>

#include "bittern/quant/codebook.h"

namespace bittern::cpu {

/// codes (n) of the levels nearest to x (n) * inverse; with `random` (n words) one of the two levels beside it
/// (stochastic_code).
void find_codes(const Codebook& book, const float* x, float inverse, const std::uint32_t* random, std::int64_t n,
                std::uint8_t* codes);

/// out (n) = level[codes] * scale. `level` has 2^bits numbers.
void look_up(const float* level, int bits, const std::uint8_t* codes, float scale, std::int64_t n, float* out);

}  // namespace bittern::cpu
