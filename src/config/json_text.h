// JSON that a person wrote: strict, and its errors say where to look (file:line:column) and what is wrong there.
//
// Refused: comments, keys given twice in an object, numbers too large for a double, nesting deeper than 32, text that
// is not UTF-8.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace bittern::config {

nlohmann::json parse_json_text(std::string_view text, std::string_view origin);

}  // namespace bittern::config
