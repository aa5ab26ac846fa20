#include "data/block_text.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "bittern/error.h"
#include "bittern/strict_json.h"
#include "data/utf8.h"

namespace bittern {
namespace {

using nlohmann::json;

// Takes one member's text out of a JSON object and builds nothing else.
class TextHandler final : public nlohmann::json_sax<json> {
 public:
  TextHandler(const std::string& field, std::string& out) : field_(field), out_(out) {}
  std::string problem;  ///< why the line is refused; empty where it is fine
  bool found = false;

  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("a truth value"); }
  bool number_integer(number_integer_t) override { return scalar("a number"); }
  bool number_unsigned(number_unsigned_t) override { return scalar("a number"); }
  bool number_float(number_float_t, const string_t&) override { return scalar("a number"); }
  bool binary(binary_t&) override { return scalar("binary data"); }
  bool string(string_t& value) override {
    if (depth_ == 0) return scalar("a text");
    if (wanted_) {
      if (found) return refuse(fmt::format("has \"{}\" twice", field_));
      found = true;
      out_ += value;
    }
    wanted_ = false;
    return true;
  }
  bool key(string_t& name) override {
    wanted_ = depth_ == 1 && name == field_;
    return true;
  }
  bool start_object(std::size_t) override { return container("an object"); }
  bool start_array(std::size_t) override { return depth_ == 0 ? scalar("a list") : container("a list"); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    return refuse(fmt::format("is not valid JSON at column {}", position));
  }

 private:
  bool refuse(std::string why) {
    problem = std::move(why);
    return false;
  }
  bool scalar(const char* what) {
    if (depth_ == 0) return refuse(fmt::format("is {}", what));
    if (wanted_) return refuse(fmt::format("has {} as \"{}\"", what, field_));
    return true;
  }
  bool container(const char* what) {
    if (wanted_) return scalar(what);
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    wanted_ = false;
    return true;
  }

  const std::string& field_;
  std::string& out_;
  int depth_ = 0;
  bool wanted_ = false;
};

int hex_digits(std::string_view text) {
  int value = 0;
  if (text.size() < 4) return -1;
  for (const char c : text.substr(0, 4)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

// Half a surrogate pair, "\ud83d" without its partner, is no character though many programs write it: becomes \ufffd.
std::int64_t mend_surrogates(std::string& line) {
  std::int64_t mended = 0;
  for (std::size_t at = line.find('\\'); at != std::string::npos && at + 1 < line.size(); at = line.find('\\', at)) {
    if (line[at + 1] != 'u') {
      at += 2;
      continue;
    }
    const std::string_view rest = std::string_view(line).substr(at);
    const int unit = hex_digits(rest.substr(2)),
              next = rest.size() >= 12 && rest[6] == '\\' && rest[7] == 'u' ? hex_digits(rest.substr(8)) : -1;
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

BlockText read_json(const TextBlock& block, const TextFile& file, const std::string& text_field) {
  BlockText result;
  std::int64_t line_number = block.first_line;
  for (std::size_t at = 0; at < block.bytes.size(); ++line_number) {
    const std::size_t end = std::min(block.bytes.find('\n', at), block.bytes.size());
    const std::string_view raw = std::string_view(block.bytes).substr(at, end - at);
    const std::int64_t offset = block.offset + static_cast<std::int64_t>(at);
    at = end + 1;
    if (raw.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    std::string line;
    line.reserve(raw.size());
    const std::int64_t replaced = utf8_repair(raw, line);
    const std::int64_t mended = mend_surrogates(line);
    if (replaced + mended > 0 && result.first_replaced < 0)
      result.first_replaced = offset + (replaced > 0 ? static_cast<std::int64_t>(utf8_valid_prefix(raw)) : 0);
    result.replaced += replaced + mended;

    const std::size_t begin = result.text.size();
    TextHandler handler(text_field, result.text);
    const bool good = json::sax_parse(line, &handler, json::input_format_t::json, true);
    if (good && !handler.found)
      handler.problem = fmt::format("has no {}", in_quotes(text_field));
    else if (!good && handler.problem.empty())
      handler.problem = "is not valid JSON";
    if (!handler.problem.empty())
      throw input_error(
          "{}:{}: the line {}; expected one object a line with a text in \"{}\" (another name: --text-field)",
          file.path, line_number, handler.problem, text_field);
    result.ranges.push_back({begin, result.text.size(), true, true});
    ++result.documents;
  }
  result.text_bytes = static_cast<std::int64_t>(result.text.size());
  return result;
}

// Whether a separator at `at` is a line by itself; if so, where the line ends.
std::optional<std::size_t> separator_end(const TextBlock& block, std::size_t at) {
  const std::string& bytes = block.bytes;
  if (at == 0 ? !block.at_line_start : bytes[at - 1] != '\n') return std::nullopt;
  std::size_t end = at + document_separator.size();
  if (end < bytes.size() && bytes[end] == '\r') ++end;
  if (end == bytes.size()) return block.ends_file ? std::optional(end) : std::nullopt;
  return bytes[end] == '\n' ? std::optional(end + 1) : std::nullopt;
}

BlockText read_plain(TextBlock block, const TextFile& file) {
  if (const void* nul = std::memchr(block.bytes.data(), '\0', block.bytes.size()))
    throw input_error(
        "{}: has a NUL byte at offset {}, so it is not UTF-8 text; leave it out, or convert it (iconv -t "
        "UTF-8) if it is UTF-16",
        file.path, block.offset + (static_cast<const char*>(nul) - block.bytes.data()));
  BlockText result;
  const std::string_view bytes = block.bytes;
  std::size_t begin = 0;
  bool starts = block.starts_document;
  const auto add = [&](std::size_t end, bool ends) {
    result.ranges.push_back({begin, end, starts, ends});
    result.text_bytes += static_cast<std::int64_t>(end - begin);
    result.documents += ends;
  };
  for (std::size_t at = 0; (at = bytes.find(document_separator, at)) != std::string_view::npos;) {
    const auto end = separator_end(block, at);
    if (!end) {
      ++at;
      continue;
    }
    add(at, true);
    begin = at = *end;
    starts = true;
  }
  if (begin < bytes.size() || block.ends_file) add(bytes.size(), block.ends_file);
  const std::size_t good = utf8_valid_prefix(bytes);
  if (good < bytes.size()) {
    std::string repaired;
    result.replaced = utf8_repair(bytes, repaired);
    result.first_replaced = block.offset + static_cast<std::int64_t>(good);
  }
  result.text = std::move(block.bytes);
  return result;
}

}  // namespace

BlockText read_block(TextBlock block, const TextFile& file, const std::string& text_field) {
  return file.kind == TextKind::json_lines ? read_json(block, file, text_field) : read_plain(std::move(block), file);
}

}  // namespace bittern
