// polynomial: log2 and 2^x whose bits are the same on every processor: bit tricks, +, - and *, in a fixed order. No
// fma, which a target without the instruction would replace by a slow call; no library function, which differs between
// machines. The coefficients are minimax fits of our own (Remez's exchange, relative error below 2.7e-8).
#pragma once

#include <cstdint>

#include "bittern/host_device.h"
#include "bittern/quant/bf16.h"

namespace bittern {

/// log2(x) of a positive normal x, 0 for 1 exactly. Within 2e-7 of the true value relatively, and within 1e-7 + half an
/// ulp absolutely. Below 2^-126, 0 included, something between -128 and -126.
BITTERN_HD float log2_f32(float x) {
  // x = 2^exponent * (1 + f), 1 + f in [sqrt(1/2), sqrt(2)); 0x3f3504f3 is sqrt(1/2).
  const std::uint32_t above = float_bits(x) - 0x3f3504f3u;
  const std::int32_t exponent = static_cast<std::int32_t>(above) >> 23;
  const float f = bits_float((above & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  float p = 0.125837008f;
  p = p * f - 0.207269731f;
  p = p * f + 0.215715602f;
  p = p * f - 0.238944823f;
  p = p * f + 0.287916249f;
  p = p * f - 0.360703683f;
  p = p * f + 0.480910643f;
  p = p * f - 0.721347347f;
  p = p * f + 1.442695f;
  return static_cast<float>(exponent) + p * f;
}

/// 2^x, exact for an integer x, else within 1.5e-7 relatively. x below -126 and above 127 (and a NaN: -126) is clamped.
BITTERN_HD float exp2_f32(float x) {
  const float above = x > -126.0f ? x : -126.0f, clamped = above < 127.0f ? above : 127.0f;
  constexpr float rounder = 0x1.8p23f;  // a float whose last bit is worth 1: adding it rounds to integers
  const float rounded = clamped + rounder;
  const float f = clamped - (rounded - rounder);  // in [-1/2, 1/2]
  float p = 0.000155946782f;
  p = p * f + 0.00134066439f;
  p = p * f + 0.00961769297f;
  p = p * f + 0.0555031055f;
  p = p * f + 0.240226528f;
  p = p * f + 0.693147215f;
  p = p * f + 1.0f;
  // The low bits of `rounded` are the exponent; shifted by 23 the others fall off.
  return bits_float(float_bits(p) + (float_bits(rounded) << 23));
}

}  // namespace bittern
