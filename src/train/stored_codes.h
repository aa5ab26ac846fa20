// stored_codes: what codes and scales that come from a file must be true of. A checksum finds a damaged file; this
// finds one that was made wrong, or by a run that diverged.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "bittern/dtype.h"

namespace bittern {

enum class ScaleSign : std::uint8_t {
  positive,
  not_negative
};  ///< of weights; of moments, whose blocks may be all zero

/// Throws unless every scale is a finite number above 0 (or of at least 0). `where` names file and tensor.
void check_scales(std::span<const std::byte> bytes, ScaleSign sign, const std::string& where);

/// Throws where a code is no number. Of all types only E4M3 has such codes.
void check_codes(std::span<const std::byte> bytes, DType dtype, const std::string& where);

}  // namespace bittern
