// Strict JSON: the checks that the parser itself does not make sit in its callback.
#include "bittern/strict_json.h"

#include <limits>
#include <set>
#include <vector>

#include "bittern/error.h"

namespace bittern {
namespace {

using nlohmann::json;

std::string cut(std::string text, std::size_t longest) {
  if (text.size() > longest) {
    while (longest > 0 && (static_cast<unsigned char>(text[longest]) & 0xc0u) == 0x80u) --longest;  // whole characters
    text.resize(longest);
    text += "...";
  }
  return text;
}

}  // namespace

json parse_strict_json(std::string_view text, std::string_view what, int max_depth) {
  std::vector<std::set<std::string, std::less<>>> keys;  // of the objects and arrays that are open
  const auto callback = [&](int depth, json::parse_event_t event, json& value) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (depth >= max_depth)
          throw input_error("{} is nested deeper than {} levels; the file is damaged or not what its name says", what,
                            max_depth);
        keys.emplace_back();
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        keys.pop_back();
        break;
      case json::parse_event_t::key:
        if (!keys.back().insert(value.get_ref<const std::string&>()).second)
          throw input_error("{} has the key {} twice; expected every name once; remove one of the two", what,
                            in_quotes(value.get_ref<const std::string&>()));
        break;
      case json::parse_event_t::value:
        break;
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), callback);
  } catch (const json::exception& error) {
    throw input_error("{} is not valid JSON ({}); the file is damaged: copy or make it again", what,
                      cut(error.what(), 200));
  }
}

std::optional<std::int64_t> json_count(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto number = value.get<std::uint64_t>();
  if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::string in_quotes(std::string_view name) {
  return cut(json(name).dump(-1, ' ', false, json::error_handler_t::replace), 100);
}

std::string excerpt(const json& value) {
  return cut(value.dump(-1, ' ', false, json::error_handler_t::replace), 100);
}

}  // namespace bittern
