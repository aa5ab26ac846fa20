// decode_e4m3: E4M3 as bf16, which holds every value of it. Most of what a product of FP8 codes costs beyond one of bf16.
#pragma once

#include <cstdint>

#include "bittern/quant/bf16.h"

namespace bittern::cpu {

/// out (count) = the values of codes (count); of 0x7f and 0xff quiet NaNs, 0x7ff0 and 0xfff0.
void decode_e4m3(bf16* out, const std::uint8_t* codes, std::int64_t count);

}  // namespace bittern::cpu
