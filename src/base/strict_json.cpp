// Strict JSON: a SAX handler builds the value. Unlike the library's own, it sees every key, so that a key given twice is
// found, and it stops as soon as a bound is passed.
#include "bittern/strict_json.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "base/printable.h"
#include "bittern/error.h"

namespace bittern {
namespace {

constexpr std::size_t longest_excerpt = 100;

bool letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0;
}

template <class Json>
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string_view text, const JsonLimits& limits, Json& result)
      : text_(text), limits_(limits), result_(result) {}
  std::optional<JsonFault> fault;

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(typename Json::number_integer_t value) override { return add(value); }
  bool number_unsigned(typename Json::number_unsigned_t value) override { return add(value); }
  bool number_float(typename Json::number_float_t value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(typename Json::binary_t&) override { return false; }  // no JSON text has one

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    if (!keys_.back().insert(name).second) return refuse({JsonFault::Kind::key_twice, 0, name});
    key_ = name;
    return true;
  }

  bool parse_error(std::size_t position, const std::string& token, const nlohmann::json::exception& error) override {
    // `position` counts the bytes read, at the end of the text one more. `token` is the text since the last string or
    // number began: that string or number itself, if it is what cannot stand here.
    const std::size_t read = std::min(position, text_.size() + 1);
    std::size_t offset = read - (read > 0);
    const bool whole_string = token.size() >= 2 && token.front() == '"' && token.back() == '"';
    const bool whole_number = !token.empty() && token.find_first_not_of("0123456789+-.eE") == std::string::npos;
    if ((whole_string || whole_number) && read <= text_.size()) offset = read - std::min(read, token.size());
    while (offset > 0 && offset < text_.size() && letter(text_[offset]) && letter(text_[offset - 1])) --offset;  // nan
    if (error.id == 406) return refuse({JsonFault::Kind::number_too_large, offset, token});
    const std::string_view what = error.what();
    if (what.find("UTF-8") != std::string_view::npos) return refuse({JsonFault::Kind::not_utf8, offset, {}});
    if (what.find("control character") != std::string_view::npos)
      return refuse({JsonFault::Kind::control_character, offset, {}});
    return refuse({JsonFault::Kind::syntax, offset, {}});
  }

 private:
  bool refuse(JsonFault why) {
    fault = std::move(why);
    return false;
  }
  Json* put(Json&& value) {
    if (open_.empty()) {
      result_ = std::move(value);
      return &result_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }
  bool add(Json value) {
    if (++values_ > limits_.values) return refuse({JsonFault::Kind::too_many_values, 0, {}});
    put(std::move(value));
    return true;
  }
  bool open(Json&& value) {
    if (static_cast<int>(open_.size()) >= limits_.depth) return refuse({JsonFault::Kind::too_deep, 0, {}});
    if (++values_ > limits_.values) return refuse({JsonFault::Kind::too_many_values, 0, {}});
    open_.push_back(put(std::move(value)));
    keys_.emplace_back();
    return true;
  }
  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  std::string_view text_;
  JsonLimits limits_;
  Json& result_;
  std::size_t values_ = 0;
  std::vector<Json*> open_;                  // pointers stay good: a parent does not change while its child is open
  std::vector<std::set<std::string>> keys_;  // of what is open
  std::string key_;
};

}  // namespace

template <class Json>
std::optional<JsonFault> parse_json(std::string_view text, Json& value, const JsonLimits& limits) {
  Builder<Json> builder(text, limits, value);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return std::move(builder.fault);
}

template std::optional<JsonFault> parse_json(std::string_view, nlohmann::json&, const JsonLimits&);
template std::optional<JsonFault> parse_json(std::string_view, nlohmann::ordered_json&, const JsonLimits&);

nlohmann::json parse_strict_json(std::string_view text, std::string_view what, const JsonLimits& limits) {
  nlohmann::json value;
  const std::optional<JsonFault> fault = parse_json(text, value, limits);
  if (!fault) return value;
  std::string why;
  switch (fault->kind) {
    case JsonFault::Kind::too_deep:
      throw input_error("{} is nested deeper than {} levels; the file is damaged or not what its name says", what,
                        limits.depth);
    case JsonFault::Kind::too_many_values:
      throw input_error("{} has more than {} values; the file is damaged or not what its name says", what,
                        limits.values);
    case JsonFault::Kind::key_twice:
      throw input_error("{} has the key {} twice; expected every name once; remove one of the two", what,
                        in_quotes(fault->token));
    case JsonFault::Kind::number_too_large:
      why = fmt::format("the number {} at byte {} is too large", printable_line(fault->token, 40), fault->offset);
      break;
    case JsonFault::Kind::not_utf8:
      why = fmt::format("byte {} is not UTF-8", fault->offset);
      break;
    case JsonFault::Kind::control_character:
      why = fmt::format("a text has a control character at byte {}", fault->offset);
      break;
    case JsonFault::Kind::syntax:
      if (fault->offset >= text.size()) {
        why = text.empty() ? "it is empty" : fmt::format("it ends too early, after {} bytes", text.size());
      } else {
        why = fmt::format("{} at byte {} cannot stand there", in_quotes(text.substr(fault->offset, 1)), fault->offset);
      }
  }
  throw input_error("{} is not valid JSON ({}); the file is damaged: copy or make it again", what, why);
}

std::optional<std::int64_t> json_count(const nlohmann::json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto number = value.get<std::uint64_t>();
  if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::string in_quotes(std::string_view name) {
  return excerpt(nlohmann::json(name));
}

std::string excerpt(const nlohmann::json& value) {
  return printable_line(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), longest_excerpt);
}

}  // namespace bittern
