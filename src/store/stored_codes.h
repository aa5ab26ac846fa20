// stored_codes: what the numbers, codes and scales that come from a file must be true of. A checksum finds a damaged
// file; this finds one that was made wrong, or by a run that diverged: what no run could have written is refused by
// file, tensor, element and value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "bittern/dtype.h"
#include "bittern/quant/state_codec.h"
#include "bittern/quant/weight_codec.h"

namespace bittern {

/// Elements of a type, each from `lowest` to `highest`: as numbers, or as the level or index that a code means before
/// its scale. A NaN is outside every range.
struct StoredRange {
  DType dtype;
  float lowest, highest;
};
StoredRange stored_range(const WeightCodec& codec);
enum class MomentSign : std::uint8_t { any, not_negative };  ///< of the first moment; of the second
StoredRange stored_range(const StateCodecInfo& codec, MomentSign sign);

/// Throws at the first element outside the range, and where bits after the last element of a packed row are not 0.
/// `bytes` are whole rows of `columns` elements, the first of them row `first_row` of the tensor; `where` names file and
/// tensor.
void check_elements(std::span<const std::byte> bytes, const StoredRange& range, std::int64_t columns,
                    const std::string& where, std::int64_t first_row = 0);

/// What f32 scales belong to, and so what they may be. No scale but a mean is subnormal (quant/scales.h).
enum class ScaleKind : std::uint8_t {
  weights,      ///< finite, above 0
  blocks,       ///< blocks of moments and rank-1 maxima: 0 as well, of what is all zero
  logarithmic,  ///< scale and alpha of a block by turns: as blocks; above 0 and at most 1, or 0 beside a scale of 0
  means         ///< of factored moments: finite, at least 0
};
/// Throws at the first scale that is none of these. `bytes` begin at scale `first` of the tensor, which is even.
void check_scales(std::span<const std::byte> bytes, ScaleKind kind, const std::string& where, std::int64_t first = 0);

}  // namespace bittern
