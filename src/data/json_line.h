// One line of a JSON lines file -> its text. Internal to src/data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bittern {

/// Appends the text in the member `field` to `out`; for a text inside objects, `field` is their names with dots between:
/// "document.text". Returns why the line has none ("is not valid JSON at column 7"), or "" where it has; then nothing but
/// the text was appended. Beside the text, numbers of any size, NaN and Infinity are passed over, as other programs write
/// them. `line` is UTF-8; escapes that are no characters become U+FFFD, `replaced` counts them.
std::string json_line_text(std::string line, const std::string& field, std::string& out, std::int64_t& replaced);

/// Whether the whole line is a JSON object.
bool is_json_object(std::string_view line);

}  // namespace bittern
