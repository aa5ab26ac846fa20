// Finding text files, and reading them in blocks.
#include "data/text_blocks.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/foreign_format.h"
#include "bittern/error.h"
#include "bittern/file.h"
#include "data/json_line.h"
#include "data/text_lines.h"

namespace bittern {
namespace {

namespace fs = std::filesystem;

bool hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

// A name's ending, in lower case, before .gz or .zst.
std::string ending(const std::string& path) {
  fs::path name = fs::path(path).filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  std::string text = name.extension().string();
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool says_plain_text(const std::string& path) {
  const std::string end = ending(path);
  return end == ".txt" || end == ".text" || end == ".md" || end == ".rst";
}

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
constexpr std::size_t front_bytes = std::size_t{64} << 10;

// The first bytes of the text.
std::string front_of(const std::string& path) {
  std::string front(front_bytes, '\0');
  front.resize(ByteReader(path).read(front));
  if (front.starts_with(byte_order_mark)) front.erase(0, byte_order_mark.size());
  return front;
}

// What begins so is JSON lines, or JSON that is none and is refused as such.
bool looks_like_json(std::string_view front) {
  const std::size_t first = front.find_first_not_of(" \t\r\n"), second = front.find_first_not_of(" \t", first + 1);
  return first != std::string_view::npos && front[first] == '{' && second != std::string_view::npos &&
         front[second] == '"';
}

// A line that is longer than what is seen of it cannot be parsed: its beginning must do.
bool begins_with_json_object(std::string_view front) {
  if (!looks_like_json(front)) return false;
  const bool whole = front.size() < front_bytes - byte_order_mark.size();
  front.remove_prefix(front.find('{'));
  const std::size_t end = front.find('\n');
  return (end == std::string_view::npos && !whole) || is_json_object(front.substr(0, end));
}

TextKind kind_of(const std::string& path, const std::string& name) {
  const std::string end = ending(name), front = front_of(path);
  if (const auto foreign = foreign_format(front))
    throw input_error("{}: is {}, not text; {}", name, foreign->name, foreign->advice);
  if (end == ".jsonl" || end == ".ndjson" || end == ".json") return TextKind::json_lines;
  return !says_plain_text(name) && looks_like_json(front) ? TextKind::json_lines : TextKind::plain;
}

void add(std::vector<TextFile>& files, const std::string& path) {
  const std::int64_t bytes = File::open(path).size();
  files.push_back({path, bytes, bytes > 0 ? kind_of(path, path) : TextKind::plain});
}

void add_folder(std::vector<TextFile>& files, const std::string& folder) {
  std::vector<std::string> found;
  std::error_code code;
  fs::recursive_directory_iterator walk(folder, code);
  for (; !code && walk != fs::recursive_directory_iterator(); walk.increment(code)) {
    if (hidden(walk->path())) {
      if (walk->is_directory()) walk.disable_recursion_pending();
      continue;
    }
    if (walk->is_regular_file()) found.push_back(walk->path().string());
  }
  if (code) throw input_error("{}: cannot list the folder: {}; check its permissions", folder, code.message());
  if (found.empty()) throw input_error("{}: the folder holds no files; expected text files in it", folder);
  std::sort(found.begin(), found.end());
  const std::size_t before = files.size();
  for (const std::string& path : found)
    if (fs::file_size(path) > 0) add(files, path);
  if (files.size() == before)
    throw input_error("{}: all files in the folder are empty; give a folder with text", folder);
}

}  // namespace

void check_named_once(const std::vector<TextFile>& files) {
  std::set<std::string> seen;
  for (const TextFile& file : files)
    if (!seen.insert(fs::canonical(file.path).string()).second)
      throw input_error("{}: is given twice; name each file once (its text would be in the data twice)", file.path);
}

std::vector<TextFile> find_text_files(const std::vector<std::string>& inputs) {
  if (inputs.empty()) throw input_error("no text is given; name at least one file or folder");
  std::vector<TextFile> files;
  for (const std::string& input : inputs) {
    std::error_code ignored;
    if (fs::is_directory(input, ignored)) {
      add_folder(files, input);
      continue;
    }
    add(files, input);
    if (files.back().bytes == 0) throw input_error("{}: is empty; give a file with text", input);
  }
  check_named_once(files);
  return files;
}

TextFile spooled_text_file(const std::string& path, std::int64_t bytes, const std::string& name) {
  return {.path = path, .bytes = bytes, .kind = kind_of(path, name), .name = name};
}

std::string warning_of_json_in_plain_text(const std::vector<TextFile>& files) {
  std::int64_t count = 0;
  const TextFile* first = nullptr;
  for (const TextFile& file : files)
    if (file.kind == TextKind::plain && says_plain_text(file.shown()) && begins_with_json_object(front_of(file.path)) &&
        count++ == 0)
      first = &file;
  if (count == 0) return "";
  return fmt::format(
      "{}{} begins with a JSON object but is named as plain text, so its braces and quotes are in the data; if it is JSON "
      "lines, name it .jsonl and run again",
      first->shown(), count > 1 ? fmt::format(" (and {} more)", count - 1) : "");
}

BlockReader::BlockReader(const std::vector<TextFile>& files, BlockLimits limits) : files_(files), limits_(limits) {
  // A piece of plain text that is cut for its length must be seen whole.
  limits_.block_bytes = std::max<std::int64_t>(limits_.block_bytes, 2 * static_cast<std::int64_t>(longest_line) + 1);
}

std::int64_t BlockReader::consumed() const {
  return consumed_before_ + (reader_ ? reader_->consumed() : 0);
}

bool BlockReader::open_next() {
  if (reader_) {
    consumed_before_ += reader_->size();
    reader_.reset();
    ++file_;
  }
  if (file_ >= files_.size()) return false;
  reader_.emplace(file().path);
  at_end_ = in_long_line_ = false;
  place_ = {.file = file_, .starts_document = true, .bytes = {}};
  fill(byte_order_mark.size());
  if (pending_.starts_with(byte_order_mark)) {  // it is no text
    pending_.erase(0, byte_order_mark.size());
    place_.offset = 3;
  }
  return true;
}

// Reads until `pending_` holds `want` bytes or the file ends.
void BlockReader::fill(std::size_t want) {
  while (pending_.size() < want && !at_end_) {
    const std::size_t have = pending_.size();
    pending_.resize(want);
    const std::size_t got = reader_->read(std::span(pending_).subspan(have));
    pending_.resize(have + got);
    at_end_ = got < want - have;
  }
}

std::optional<TextBlock> BlockReader::next() {
  if (!reader_ && !open_next()) return std::nullopt;
  fill(static_cast<std::size_t>(limits_.block_bytes));
  while (pending_.empty()) {  // a file without a byte of text, such as an empty gzip member
    if (!open_next()) return std::nullopt;
    fill(static_cast<std::size_t>(limits_.block_bytes));
  }
  TextBlock block = place_;
  const bool left_out = in_long_line_;
  const std::size_t cut = file().kind == TextKind::json_lines ? json_cut() : plain_cut();
  place_.offset += static_cast<std::int64_t>(cut);
  place_.first_line += std::count(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(cut), '\n');
  std::string rest = pending_.substr(cut);
  pending_.resize(cut);
  if (!left_out) block.bytes = std::move(pending_);
  pending_ = std::move(rest);

  place_.at_line_start = block.bytes.ends_with('\n');
  // The next block begins a document if this one's last line is a separator.
  std::string_view last = block.bytes;
  while (last.ends_with('\n')) last.remove_suffix(1);
  const std::size_t before = last.find_last_of('\n');
  const bool whole_line = before != std::string_view::npos || block.at_line_start;
  last = last.substr(before + 1);
  if (last.ends_with('\r')) last.remove_suffix(1);
  place_.starts_document =
      whole_line && last == document_separator && block.bytes.ends_with('\n') && !block.bytes.ends_with("\n\n");
  fill(1);
  block.ends_file = pending_.empty() && at_end_;
  block.ends_after_line = block.bytes.ends_with('\n') && !pending_.empty() && pending_[0] != '\n';
  place_.begins_after_line = block.ends_after_line;
  if (block.ends_file) open_next();
  return block;
}

// After the last newline; a longer line is read on. Of a line beyond the limit the beginning is a block; the rest of it is
// cut into blocks that are left empty.
std::size_t BlockReader::json_cut() {
  if (in_long_line_) {
    const std::size_t newline = pending_.find('\n');
    in_long_line_ = newline == std::string::npos;
    return in_long_line_ ? pending_.size() : newline + 1;
  }
  const auto longest = static_cast<std::size_t>(limits_.longest_json_line);
  while (true) {
    const std::size_t newline = pending_.rfind('\n');
    if (newline != std::string::npos) return newline + 1;
    if (at_end_) return pending_.size();
    if (pending_.size() > longest) {
      in_long_line_ = true;
      return pending_.size();
    }
    fill(std::min(2 * pending_.size(), longest + 1));
  }
}

// After the last run of newlines that surely ends; in a text of long lines, after the last piece that surely ends.
std::size_t BlockReader::plain_cut() {
  if (at_end_) return pending_.size();
  for (std::size_t at = pending_.size() - 1; at > 0; --at)
    if (pending_[at - 1] == '\n' && pending_[at] != '\n') return at;
  std::size_t cut = 0;
  while (pending_.size() - cut > longest_line) cut += line_length(std::string_view(pending_).substr(cut));
  return cut;
}

}  // namespace bittern
