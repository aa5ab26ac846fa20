// A SAX handler builds the value: unlike the library's own, it sees every key, so that a key given twice is found.
#include "config/json_text.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <vector>

#include "bittern/error.h"
#include "bittern/strict_json.h"

namespace bittern::config {
namespace {

using nlohmann::json;

constexpr std::size_t deepest = 32;

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

class Builder : public json::json_sax_t {
 public:
  Builder(std::string_view text, std::string_view origin) : text_(text), origin_(origin) {}
  json result;

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(json::number_integer_t value) override { return add(value); }
  bool number_unsigned(json::number_unsigned_t value) override { return add(value); }
  bool number_float(json::number_float_t value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(json::binary_t&) override { return false; }  // no JSON text has one

  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    if (open_.back()->contains(name))
      throw input_error("{}: has the key {} twice in one object; remove one of them", origin_, in_quotes(name));
    key_ = name;
    return true;
  }

  bool parse_error(std::size_t position, const std::string& token, const json::exception& error) override {
    // `position` counts the bytes read, at the end of the text one more. `token` is the text since the last string or
    // number began: that string or number itself, if it is what cannot stand here.
    const std::size_t read = std::min(position, text_.size() + 1);
    std::size_t offset = read - (read > 0);
    const bool whole_string = token.size() >= 2 && token.front() == '"' && token.back() == '"';
    const bool whole_number = !token.empty() && token.find_first_not_of("0123456789+-.eE") == std::string::npos;
    if ((whole_string || whole_number) && read <= text_.size()) offset = read - std::min(read, token.size());
    while (offset > 0 && offset < text_.size() && letter(text_[offset]) && letter(text_[offset - 1])) --offset;  // nan
    if (error.id == 406)
      throw input_error("{}:{}: the number {} is too large; numbers go up to 1.7e308", origin_, place(text_, offset),
                        token);
    const std::string_view what = error.what();
    if (what.find("UTF-8") != std::string_view::npos)
      throw input_error("{}:{}: is not UTF-8 text; save it as UTF-8", origin_, place(text_, offset));
    if (what.find("control character") != std::string_view::npos)
      throw input_error(
          "{}:{}: a text holds a line break or another control character; write it as \\n, \\t or \\u0001", origin_,
          place(text_, offset));
    throw input_error("{}:{}: not JSON: {}", origin_, place(text_, offset), hint(text_, offset));
  }

 private:
  json* put(json&& value) {
    if (open_.empty()) {
      result = std::move(value);
      return &result;
    }
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }
  bool add(json value) {
    put(std::move(value));
    return true;
  }
  bool open(json&& value) {
    if (open_.size() >= deepest)
      throw input_error("{}: is nested deeper than {} levels; no config is: check the path", origin_, deepest);
    open_.push_back(put(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_, origin_;
  std::vector<json*> open_;  // pointers stay good: a parent does not change while its child is open
  std::string key_;
};

}  // namespace

json parse_json_text(std::string_view text, std::string_view origin) {
  Builder builder(text, origin);
  json::sax_parse(text.begin(), text.end(), &builder);
  return std::move(builder.result);
}

}  // namespace bittern::config
