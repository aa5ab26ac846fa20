// Text files as a sequence of blocks, cut where lines are cut (text_lines.h). Internal to src/data.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/byte_reader.h"
#include "data/manifest.h"

namespace bittern {

enum class TextKind { plain, json_lines };

struct TextFile {
  std::string path;
  std::int64_t bytes = 0;  ///< on the disk
  TextKind kind = TextKind::plain;
  std::string name = {};  ///< for people: what the user called it ("-"), where that is not the path
  const std::string& shown() const { return name.empty() ? path : name; }
};

/// Refuses a file that is there twice, also by another path: its text would be in the data twice.
void check_named_once(const std::vector<TextFile>& files);

/// The files named by `inputs`: files as they are, folders with all that is below and not hidden, sorted. Refuses
/// missing, empty and doubly named ones, and what is no text but is known by name (an archive, Parquet, ...).
/// A file is JSON lines if its name says so (.jsonl .ndjson .json, also before .gz or .zst), or if its name does not say
/// that it is plain text (.txt .text .md .rst) and its first line is a JSON object.
std::vector<TextFile> find_text_files(const std::vector<std::string>& inputs);
/// One file that was written for an input that can be read only once (`name`: what the user called it).
TextFile spooled_text_file(const std::string& path, std::int64_t bytes, const std::string& name);

/// A sentence about files that are plain text by their names and begin with a line that is a JSON object; empty: none.
std::string warning_of_json_in_plain_text(const std::vector<TextFile>& files);

/// The line that divides documents in plain text.
inline constexpr std::string_view document_separator = "<|endoftext|>";

/// Whole lines of one file: JSON lines, or lines of plain text in the tokenizer's sense.
struct TextBlock {
  std::size_t file = 0;          ///< index in the list of files
  std::int64_t offset = 0;       ///< of the first byte, in the decompressed file
  std::int64_t first_line = 1;   ///< number of the first line
  bool at_line_start = true;     ///< false inside a line that was too long for one piece
  bool starts_document = false;  ///< plain: the first byte is the first of a document
  bool ends_file = false;
  /// A newline lies before (at the end of) the block, and something else than a newline right after it, in the same file.
  bool begins_after_line = false, ends_after_line = false;
  std::string bytes;  ///< of a JSON line that is too long only the beginning, which is still too long
};

struct BlockLimits {
  std::int64_t block_bytes = 0;
  std::int64_t longest_json_line = 0;  ///< bytes of a longer one are not kept
};

/// Reads all files, one after the other. Where blocks end depends on `block_bytes`; what is made of them must not.
class BlockReader {
 public:
  BlockReader(const std::vector<TextFile>& files, BlockLimits limits);
  std::optional<TextBlock> next();
  /// Bytes of files, as they lie on the disk, that have been read.
  std::int64_t consumed() const;

 private:
  bool open_next();
  void fill(std::size_t want);
  std::size_t json_cut();
  std::size_t plain_cut();
  const TextFile& file() const { return files_[file_]; }

  const std::vector<TextFile>& files_;
  BlockLimits limits_;
  std::optional<ByteReader> reader_;
  std::size_t file_ = 0;
  bool at_end_ = false;        ///< the open file has no bytes after those in `pending_`
  bool in_long_line_ = false;  ///< what follows, up to a newline, belongs to a JSON line that is too long
  std::string pending_;
  TextBlock place_;  ///< where the next block begins
  std::int64_t consumed_before_ = 0;
};

}  // namespace bittern
