// Strict JSON: parsing of JSON that somebody else wrote (file headers, manifests, indices), where leniency is a hole.
//
// Refused, each with a sentence that names the file: text that is not JSON or not UTF-8, an object that has a key twice
// (parsers silently keep one of them, and not all the same one), numbers out of range, nesting deeper than `max_depth`.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace bittern {

/// The value of `text`; `what` starts the message ("model.safetensors: header").
nlohmann::json parse_strict_json(std::string_view text, std::string_view what, int max_depth = 16);

/// The number, if it is a whole one in 0..2^63-1 written as such (not 1.0, not 1e3, not "1").
std::optional<std::int64_t> json_count(const nlohmann::json& value);

/// `name` fit for a message: in quotes, control characters escaped, cut when longer than 100 bytes.
std::string in_quotes(std::string_view name);

/// The first bytes of a value as it would be written, fit for a message.
std::string excerpt(const nlohmann::json& value);

}  // namespace bittern
