// scales: the number that codes are multiplied with, and the two expressions that every codec encodes and decodes with:
//   encode   code of x * inverse_scale(scale)
//   decode   value of the code * scale
// Written the same way everywhere, CPU and GPU make the same codes, and an error x - decoded is the error that is
// really made. Levels and codes are at most `largest` (448, 127, 1 for a codebook), reached by the largest magnitude.
//
// What is not finite is neither hidden nor spread: a magnitude that is infinite or NaN makes the scale NaN, so all that
// shares the scale decodes to NaN, and nothing else does.
#pragma once

#include <cstdint>

#include "bittern/host_device.h"
#include "bittern/quant/bf16.h"

namespace bittern {

/// |x| as an integer that is ordered as the magnitudes are, NaN above infinity: their maximum is taken without losing a
/// NaN, in any order, and on a GPU by an atomic. bits_float makes the absmax of it.
BITTERN_HD std::uint32_t magnitude_bits(float x) {
  return float_bits(x) & 0x7fffffffu;
}

namespace scales_detail {

/// Below it 1 / scale is infinite; processors may also flush what is smaller to zero.
constexpr float smallest = 0x1p-126f;

BITTERN_HD float guarded(float scale) {
  const float normal = scale > smallest ? scale : smallest;
  return magnitude_bits(scale) >= 0x7f800000u ? bits_float(0x7fc00000u) : normal;
}

}  // namespace scales_detail

/// The scale of weights or activations: the largest magnitude becomes `largest`. 1 where all are zero.
BITTERN_HD float scale_from_absmax(float absmax, float largest) {
  const float scale = scales_detail::guarded(absmax / largest);
  return absmax == 0.0f ? 1.0f : scale;
}

/// The scale of a block of an optimizer state, whose levels end at 1. 0 where all are zero: every code then decodes to
/// 0, also in a codebook without a zero.
BITTERN_HD float block_scale(float absmax) {
  const float scale = scales_detail::guarded(absmax);
  return absmax == 0.0f ? 0.0f : scale;
}

/// BitNet b1.58 and DQT: the mean magnitude, at least 1e-5, becomes `largest` (1 for ternary), so what is larger is
/// clipped.
BITTERN_HD float scale_from_absmean(float absmean, float largest) {
  const float clamped = absmean > 1e-5f ? absmean : 1e-5f;
  return scales_detail::guarded((absmean != absmean ? absmean : clamped) / largest);
}

/// What x is multiplied with to encode it. 0 for a scale that is 0 or NaN: any code will do then.
BITTERN_HD float inverse_scale(float scale) {
  return scale > 0.0f ? 1.0f / scale : 0.0f;
}

/// Rank-1 scales (Li et al. 2023, section 4.2): the scale of element (i, j) from the block_scale of row i and of column
/// j. By bits, so that of a NaN and a number it is the number: only what shares both its row and its column is lost.
BITTERN_HD float rank1_scale(float row, float column) {
  const std::uint32_t r = magnitude_bits(row), c = magnitude_bits(column);
  return bits_float(r < c ? r : c);
}

}  // namespace bittern
