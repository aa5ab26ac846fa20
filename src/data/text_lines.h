// The lines of a text. A line is everything up to and including a run of newlines, and at most `longest_line` bytes: a
// longer one is cut before a space or, failing that, between characters. Internal to src/data.
//
// Blocks of text end where lines end, and validation begins where a line begins. Ids do not depend on lines.
#pragma once

#include <cstddef>
#include <string_view>

namespace bittern {

/// A line is never longer than this (bytes).
inline constexpr std::size_t longest_line = 64 << 10;

/// The length of the first line of `text`, which is not empty.
std::size_t line_length(std::string_view text);

template <typename Each>
void for_each_line(std::string_view text, Each each) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, line_length(text));
    each(line);
    text.remove_prefix(line.size());
  }
}

}  // namespace bittern
