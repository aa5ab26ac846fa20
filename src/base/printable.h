// printable: text from outside, made fit for a message and for a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace bittern {

/// `text` with every control character, newline and tab excepted, and every byte that is not UTF-8 spelled out:
/// "\x1b[2J" becomes "\\x1b[2J". If the result has more than `longest` bytes it is cut between two characters, and "..."
/// follows. A text of the program's own comes back as it is.
std::string printable(std::string_view text, std::size_t longest = std::string_view::npos);

/// The same on one line: newline and tab are spelled out too, as "\n" and "\t". For a piece of a message.
std::string printable_line(std::string_view text, std::size_t longest);

}  // namespace bittern
