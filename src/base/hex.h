// parse_hex: the one reader of hexadecimal digits.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace bittern {

/// The number, if `text` is exactly `digits` hexadecimal digits (at most 16) of either case; no sign, no prefix.
inline std::optional<std::uint64_t> parse_hex(std::string_view text, std::size_t digits) {
  if (text.size() != digits || digits > 16) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    const bool decimal = c >= '0' && c <= '9';
    const int letter = (c | 0x20) - 'a';
    if (!decimal && (letter < 0 || letter > 5)) return std::nullopt;
    value = value << 4 | static_cast<std::uint64_t>(decimal ? c - '0' : letter + 10);
  }
  return value;
}

}  // namespace bittern
