// Where a line of text ends.
#include "data/text_lines.h"

namespace bittern {

std::size_t line_length(std::string_view text) {
  const std::size_t newline = text.substr(0, longest_line).find('\n');
  if (newline != std::string_view::npos) {
    std::size_t end = newline + 1;
    while (end < text.size() && end < longest_line && text[end] == '\n') ++end;
    return end;
  }
  if (text.size() <= longest_line) return text.size();
  const std::size_t space = text.rfind(' ', longest_line);
  if (space != std::string_view::npos && space > 0) return space;  // the space begins the next line
  std::size_t end = longest_line;
  for (int back = 0; back < 3 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80; ++back) --end;
  return end;
}

}  // namespace bittern
