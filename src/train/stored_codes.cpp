#include "train/stored_codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bittern/error.h"

namespace bittern {

void check_scales(std::span<const std::byte> bytes, ScaleSign sign, const std::string& where) {
  for (std::size_t at = 0; at + sizeof(float) <= bytes.size(); at += sizeof(float)) {
    float scale;
    std::memcpy(&scale, bytes.data() + at, sizeof scale);
    if (!std::isfinite(scale) || scale < 0.0f || (scale == 0.0f && sign == ScaleSign::positive))
      throw input_error(
          "{} is {} at element {}; expected finite scales {} 0; the file is damaged or the model has diverged: use "
          "another "
          "checkpoint",
          where, scale, at / sizeof(float), sign == ScaleSign::positive ? "above" : "of at least");
  }
}

void check_codes(std::span<const std::byte> bytes, DType dtype, const std::string& where) {
  if (dtype != DType::e4m3) return;
  const auto nan =
      std::ranges::find_if(bytes, [](std::byte code) { return (code & std::byte{0x7f}) == std::byte{0x7f}; });
  if (nan != bytes.end())
    throw input_error(
        "{} is NaN at element {}; expected numbers; the file is damaged or the model has diverged: use another "
        "checkpoint",
        where, nan - bytes.begin());
}

}  // namespace bittern
