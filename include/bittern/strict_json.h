// Strict JSON: the one parser of JSON that somebody else wrote. Leniency there is a hole: parsers that keep one of two
// equal keys do not all keep the same one.
//
// Refused: text that is not JSON or not UTF-8, an object that has a key twice, numbers that do not fit into a double,
// nesting deeper than a bound, more values than a bound (a value takes some fifty bytes of memory, however short its
// text). Who reads the text bounds its size. No message holds a byte that a terminal would obey.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace bittern {

struct JsonLimits {
  int depth = 16;                             ///< objects and lists inside one another
  std::size_t values = std::size_t{1} << 24;  ///< in all
};

/// Why a text is refused, and where.
struct JsonFault {
  enum class Kind { syntax, not_utf8, control_character, number_too_large, key_twice, too_deep, too_many_values };
  Kind kind{};
  std::size_t offset = 0;  ///< of the byte that is wrong; the text's size: it ends too early
  std::string token;       ///< key_twice: the key; number_too_large: the number's text
};

/// Parses `text` into `value`; the fault, if there is one. Json is nlohmann::json, whose objects are sorted by key, or
/// nlohmann::ordered_json, whose objects keep the text's order. (With the latter, bound `values` to some thousands: its
/// objects are lists, and looking a key up takes time in proportion to their length.)
template <class Json>
std::optional<JsonFault> parse_json(std::string_view text, Json& value, const JsonLimits& limits = {});

/// The value of `text`, which a program wrote; `what` starts the message ("model.safetensors: header").
nlohmann::json parse_strict_json(std::string_view text, std::string_view what, const JsonLimits& limits = {});

/// The number, if it is a whole one in 0..2^63-1 written as such (not 1.0, not 1e3, not "1").
std::optional<std::int64_t> json_count(const nlohmann::json& value);

/// `name` fit for a message: in quotes, what is not printable spelled out, cut when longer than 100 bytes.
std::string in_quotes(std::string_view name);

/// The first 100 bytes of a value as it would be written, fit for a message.
std::string excerpt(const nlohmann::json& value);

}  // namespace bittern
