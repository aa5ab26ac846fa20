// Text files as a sequence of blocks, cut where lines are cut (bittern/tokenizer.h). Internal to src/data.
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
};

/// The files named by `inputs`: files as they are, folders with all that is below and not hidden, sorted. Refuses
/// missing, empty and doubly named ones.
std::vector<TextFile> find_text_files(const std::vector<std::string>& inputs);

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
  std::string bytes;
};

struct BlockLimits {
  std::int64_t block_bytes = 0;
  std::int64_t longest_json_line = 0;
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
  bool at_end_ = false;  ///< the open file has no bytes after those in `pending_`
  std::string pending_;
  TextBlock place_;  ///< where the next block begins
  std::int64_t consumed_before_ = 0;
};

}  // namespace bittern
