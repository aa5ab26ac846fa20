// Spells out the bytes of a text that could steer a terminal or are no UTF-8, and cuts the text to a length.
#include "base/printable.h"

#include <spdlog/fmt/fmt.h>

#include <iterator>

#include "base/utf8.h"

namespace bittern {
namespace {

std::string spelled_out(std::string_view text, std::size_t longest, bool one_line) {
  std::string result;
  while (!text.empty()) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    std::size_t length = utf8_character(text);
    const bool line_break = byte(0) == '\n' || byte(0) == '\t';
    const bool c0 = byte(0) < 0x20 || byte(0) == 0x7F;
    const bool c1 = length == 2 && byte(0) == 0xC2 && byte(1) < 0xA0;  // U+0080 to U+009F, which steer terminals too
    std::string piece;
    if (line_break && one_line) {
      piece = byte(0) == '\n' ? "\\n" : "\\t";
    } else if (length == 0 || (c0 && !line_break) || c1) {
      piece = fmt::format("\\x{:02x}", byte(c1 ? 1 : 0));
    } else {
      piece = text.substr(0, length);
    }
    if (length == 0) length = 1;
    if (piece.size() > longest - result.size()) return result + "...";
    result += piece;
    text.remove_prefix(length);
  }
  return result;
}

}  // namespace

std::string printable(std::string_view text, std::size_t longest) {
  return spelled_out(text, longest, false);
}

std::string printable_line(std::string_view text, std::size_t longest) {
  return spelled_out(text, longest, true);
}

}  // namespace bittern
