// UTF-8: validation and repair (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bittern {

inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";  // U+FFFD

/// The length of the valid character at the front of `text` (1..4), or 0 where there is none.
std::size_t utf8_character(std::string_view text);

/// How many bytes at the front of `text` are valid UTF-8.
std::size_t utf8_valid_prefix(std::string_view text);

/// How many bytes a character that starts with `lead` has if it is valid; 0 for a byte that starts none.
std::size_t utf8_length(unsigned char lead);

/// Appends `text` to `out` with U+FFFD for each byte that belongs to no valid character; returns how many there were.
std::int64_t utf8_repair(std::string_view text, std::string& out);

}  // namespace bittern
