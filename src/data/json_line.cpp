// Reading JSON lines: only the text is kept of a line, and nothing else is built.
#include "data/json_line.h"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/hex.h"
#include "bittern/error.h"
#include "bittern/strict_json.h"

namespace bittern {
namespace {

using nlohmann::json;

constexpr std::size_t most_depth = 512;

// Takes one member's text out of a JSON object.
class TextHandler final : public nlohmann::json_sax<json> {
 public:
  TextHandler(std::string_view field, std::string& out) : field_(field), out_(out) {}
  std::string problem;  ///< why the line is refused; empty where it is fine
  bool found = false;

  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("a truth value"); }
  bool number_integer(number_integer_t) override { return scalar("a number"); }
  bool number_unsigned(number_unsigned_t) override { return scalar("a number"); }
  bool number_float(number_float_t, const string_t&) override { return scalar("a number"); }
  bool binary(binary_t&) override { return scalar("binary data"); }
  bool string(string_t& value) override {
    if (depth_.empty()) return scalar("a text");
    if (wanted_) {
      if (found) return refuse(fmt::format("has {} twice", in_quotes(field_)));
      found = true;
      out_ += value;
    }
    wanted_ = false;
    return true;
  }
  // How much of the field's name the names of the objects around have: this one may complete it, or lead on.
  bool key(string_t& name) override {
    wanted_ = false;
    inside_ = nowhere;
    if (depth_.back() == nowhere) return true;
    const std::string_view rest = field_.substr(depth_.back());
    wanted_ = rest == name;
    if (rest.size() > name.size() && rest.starts_with(name) && rest[name.size()] == '.')
      inside_ = depth_.back() + name.size() + 1;
    return true;
  }
  bool start_object(std::size_t) override {
    const std::size_t matched = depth_.empty() ? 0 : inside_;
    return container("an object", matched);
  }
  bool start_array(std::size_t) override { return depth_.empty() ? scalar("a list") : container("a list", nowhere); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    return refuse(fmt::format("is not valid JSON at column {}", position));
  }

 private:
  static constexpr std::size_t nowhere = SIZE_MAX;

  bool refuse(std::string why) {
    problem = std::move(why);
    return false;
  }
  bool scalar(const char* what) {
    if (depth_.empty()) return refuse(fmt::format("is {}", what));
    if (wanted_) return refuse(fmt::format("has {} as {}", what, in_quotes(field_)));
    return true;
  }
  bool container(const char* what, std::size_t matched) {
    if (wanted_) return scalar(what);
    if (depth_.size() >= most_depth) return refuse(fmt::format("is nested deeper than {}", most_depth));
    depth_.push_back(matched);
    inside_ = nowhere;
    return true;
  }
  bool close() {
    depth_.pop_back();
    wanted_ = false;
    inside_ = nowhere;
    return true;
  }

  std::string_view field_;
  std::string& out_;
  std::vector<std::size_t> depth_;  // of each object around: how much of the field's name leads to it
  std::size_t inside_ = nowhere;    // the same of the member that was named last
  bool wanted_ = false;
};

// Half a surrogate pair, "\ud83d" without its partner, is no character though many programs write it: becomes \ufffd.
std::int64_t mend_surrogates(std::string& line) {
  std::int64_t mended = 0;
  for (std::size_t at = line.find('\\'); at != std::string::npos && at + 1 < line.size(); at = line.find('\\', at)) {
    if (line[at + 1] != 'u') {
      at += 2;
      continue;
    }
    const std::string_view rest = std::string_view(line).substr(at);
    const auto unit_at = [&](std::size_t from) -> std::uint64_t {  // 0, no surrogate, where there are not four digits
      return rest.size() >= from ? parse_hex(rest.substr(from, 4), 4).value_or(0) : 0;
    };
    const std::uint64_t unit = unit_at(2), next = rest.substr(0, 8).ends_with("\\u") ? unit_at(8) : 0;
    const bool high = unit >= 0xD800 && unit < 0xDC00, low = unit >= 0xDC00 && unit < 0xE000;
    if (high && next >= 0xDC00 && next < 0xE000) {
      at += 12;
      continue;
    }
    if (high || low) {
      line.replace(at + 2, 4, "fffd");
      ++mended;
    }
    at += 2;
  }
  return mended;
}

// The length of the JSON number at the front of `text`; 0: there is none.
std::size_t number_length(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t from = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at > from;
  };
  if (text.starts_with('-')) ++at;
  if (text.substr(at).starts_with('0'))
    ++at;
  else if (!digits())
    return 0;
  if (text.substr(at).starts_with('.')) {
    ++at;
    if (!digits()) return 0;
  }
  if (at < text.size() && (text[at] | 32) == 'e') {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (!digits()) return 0;
  }
  return at;
}

// What numbers and words are made of.
constexpr std::string_view in_words = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.+-_";

// The line with every number, NaN and Infinity outside of texts as 0: the parser refuses those that fit no double.
std::string without_numbers(std::string_view line) {
  std::string out;
  bool inside = false;
  for (std::size_t at = 0; at < line.size();) {
    const std::string_view rest = line.substr(at);
    std::size_t length = 0;
    if (!inside) {
      for (const std::string_view word : {"NaN", "Infinity", "-Infinity"})
        if (rest.starts_with(word)) length = word.size();
      if (length == 0) length = number_length(rest);
    }
    if (length > 0 && length < rest.size() && in_words.find(rest[length]) != std::string_view::npos) {
      // Such as 1.2.3: a number and more is none. All of it stays, for the parser to refuse.
      const std::size_t whole = std::min(rest.find_first_not_of(in_words), rest.size());
      out += rest.substr(0, whole);
      at += whole;
      continue;
    }
    if (length > 0) {
      out += '0';
      at += length;
      continue;
    }
    if (inside && rest[0] == '\\' && rest.size() > 1) {
      out += rest.substr(0, 2);
      at += 2;
      continue;
    }
    if (rest[0] == '"') inside = !inside;
    out += rest[0];
    ++at;
  }
  return out;
}

std::string parse(const std::string& line, const std::string& field, std::string& out) {
  const std::size_t before = out.size();
  TextHandler handler(field, out);
  const bool good = json::sax_parse(line, &handler, json::input_format_t::json, true);
  if (good && !handler.found)
    handler.problem = fmt::format("has no {}", in_quotes(field));
  else if (!good && handler.problem.empty())
    handler.problem = "is not valid JSON";
  if (!handler.problem.empty()) out.resize(before);
  return handler.problem;
}

}  // namespace

std::string json_line_text(std::string line, const std::string& field, std::string& out, std::int64_t& replaced) {
  const std::int64_t mended = mend_surrogates(line);
  std::string problem = parse(line, field, out);
  if (const std::string_view invalid = "is not valid JSON"; problem.starts_with(invalid)) {
    std::string other = parse(without_numbers(line), field, out);
    if (!other.starts_with(invalid)) problem = std::move(other);
  }
  if (problem.empty()) replaced += mended;
  return problem;
}

bool is_json_object(std::string_view line) {
  const std::size_t first = line.find_first_not_of(" \t");
  return first != std::string_view::npos && line[first] == '{' && json::accept(without_numbers(line));
}

}  // namespace bittern
