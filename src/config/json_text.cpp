// Turns a fault of the strict parser into a sentence for the person who wrote the text.
#include "config/json_text.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/printable.h"
#include "bittern/error.h"
#include "bittern/strict_json.h"

namespace bittern::config {
namespace {

using nlohmann::json;

constexpr int deepest = 32;
constexpr std::size_t longest_number = 40;

// Where in the text, as "line:column", both from 1; columns count bytes.
std::string place(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const std::size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return fmt::format("{}:{}", std::ranges::count(before, '\n') + 1, before.size() - line_start + 1);
}

bool letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0;
}

// What a person most likely did, from the text at the place where the parser gave up.
std::string hint(std::string_view text, std::size_t offset) {
  const auto blank = [](unsigned char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  if (std::ranges::all_of(text, blank)) return "it is empty; expected an object: { ... }";
  if (offset >= text.size()) return "it ends in the middle; a }, ] or \" is missing";
  std::size_t before = offset;
  while (before > 0 && blank(static_cast<unsigned char>(text[before - 1]))) --before;
  const char previous = before > 0 ? text[before - 1] : '\0';
  const auto here = static_cast<unsigned char>(text[offset]);
  if (here == '/' || here == '#') return "JSON has no comments; remove it";
  if (here == '\'') return "names and texts take double quotes";
  if ((here == '}' || here == ']') && previous == ',') return "remove the comma before it";
  if (here == '"' || here == '{' || here == '[') return "a comma, a colon or a bracket is missing before it";
  if (std::isdigit(here) && (previous == '"' || previous == '}' || previous == ']'))
    return "a comma, a colon or a bracket is missing before it";
  if (std::isdigit(here) || here == '+' || here == '-' || here == '.')
    return "numbers are written like 1, -0.5 or 1e-3, and a comma parts them";
  if (letter(text[offset]) || letter(previous))
    return "expected true, false, null, a number, or a text in double quotes";
  return "a bracket, a comma or a colon is missing or in the wrong place";
}

}  // namespace

json parse_json_text(std::string_view text, std::string_view origin) {
  json value;
  const std::optional<JsonFault> fault = parse_json(text, value, {.depth = deepest});
  if (!fault) return value;
  const std::string where = fmt::format("{}:{}", origin, place(text, fault->offset));
  switch (fault->kind) {
    case JsonFault::Kind::too_deep:
      throw input_error("{}: is nested deeper than {} levels; no config is: check the path", origin, deepest);
    case JsonFault::Kind::too_many_values:
      throw input_error("{}: has millions of values; no config has: check the path", origin);
    case JsonFault::Kind::key_twice:
      throw input_error("{}: has the key {} twice in one object; remove one of them", origin, in_quotes(fault->token));
    case JsonFault::Kind::number_too_large:
      throw input_error("{}: the number {} is too large; numbers go up to 1.7e308", where,
                        printable_line(fault->token, longest_number));
    case JsonFault::Kind::not_utf8:
      throw input_error("{}: is not UTF-8 text; save it as UTF-8", where);
    case JsonFault::Kind::control_character:
      throw input_error("{}: a text holds a line break or another control character; write it as \\n, \\t or \\u0001",
                        where);
    case JsonFault::Kind::syntax:
      break;
  }
  throw input_error("{}: not JSON: {}", where, hint(text, fault->offset));
}

}  // namespace bittern::config
