// The documents of a block of text.
#include "data/block_text.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/utf8.h"
#include "bittern/error.h"
#include "data/json_line.h"

namespace bittern {
namespace {

BlockText read_json(const TextBlock& block, const TextFile& file, const JsonOptions& options) {
  BlockText result;
  std::int64_t line_number = block.first_line;
  for (std::size_t at = 0; at < block.bytes.size(); ++line_number) {
    const std::size_t end = std::min(block.bytes.find('\n', at), block.bytes.size());
    const std::string_view raw = std::string_view(block.bytes).substr(at, end - at);
    const std::int64_t offset = block.offset + static_cast<std::int64_t>(at);
    at = end + 1;
    const bool too_long = static_cast<std::int64_t>(raw.size()) > options.longest_line;
    if (!too_long && raw.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    std::string line;
    const std::int64_t bad_bytes = too_long ? 0 : utf8_repair(raw, line);
    std::int64_t replaced = bad_bytes;
    const std::size_t begin = result.text.size();
    if (const std::string problem = too_long
                                        ? fmt::format("is longer than {} bytes", options.longest_line)
                                        : json_line_text(std::move(line), options.text_field, result.text, replaced);
        !problem.empty()) {
      const std::string where = fmt::format("{}:{}: the line {}", file.shown(), line_number, problem);
      if (!options.skip_bad_lines)
        throw input_error(
            "{}; expected one object a line with a text in \"{}\" (another name: --text-field; to leave such lines out: "
            "--skip-bad-lines)",
            where, options.text_field);
      if (result.skipped++ == 0) result.first_skipped = where;
      continue;
    }
    if (replaced > 0 && result.first_replaced < 0)
      result.first_replaced = offset + (bad_bytes > 0 ? static_cast<std::int64_t>(utf8_valid_prefix(raw)) : 0);
    result.replaced += replaced;
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
        file.shown(), block.offset + (static_cast<const char*>(nul) - block.bytes.data()));
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

BlockText read_block(TextBlock block, const TextFile& file, const JsonOptions& options) {
  const bool begins = block.begins_after_line, ends = block.ends_after_line;
  BlockText result =
      file.kind == TextKind::json_lines ? read_json(block, file, options) : read_plain(std::move(block), file);
  result.begins_after_line = begins;
  result.ends_after_line = ends;
  return result;
}

}  // namespace bittern
