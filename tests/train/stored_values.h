// What tests read out of a checkpoint's files, without bittern's own decoding.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bittern/safetensors.h"
#include "catch.h"

namespace bittern {

/// The bytes of a tensor, as numbers of T.
template <class T>
std::vector<T> read_tensor(const SafetensorsFile& file, const std::string& name) {
  const SafetensorsEntry* const entry = file.find(name);
  REQUIRE(entry != nullptr);
  std::vector<T> out(static_cast<std::size_t>(entry->bytes) / sizeof(T));
  file.read(name, std::as_writable_bytes(std::span(out)));
  return out;
}

/// By the format's definition; of a code that is a number.
inline double e4m3_value(std::uint8_t code) {
  const int exponent = (code & 0x7f) / 8, fraction = code & 7;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

}  // namespace bittern
