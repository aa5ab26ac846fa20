// The documents of a block: plain text divided at separator lines, or the texts of JSON lines. Internal to src/data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/text_blocks.h"

namespace bittern {

/// A part of a document, in BlockText::text. Parts of one document that a block border divides follow one another.
struct TextRange {
  std::size_t begin = 0, end = 0;
  bool starts_document = false, ends_document = false;
};

struct BlockText {
  std::string text;
  std::vector<TextRange> ranges;
  std::int64_t text_bytes = 0;  ///< of all ranges
  std::int64_t documents = 0;   ///< that end here
  /// Bytes (in JSON, also escapes) that are no characters, and the offset in the file of the first; -1 where none.
  /// JSON's are replaced in `text` already, plain text's are not: its lines are cut before they are repaired.
  std::int64_t replaced = 0, first_replaced = -1;
  std::int64_t skipped = 0;                                 ///< JSON lines that hold no text as they should
  std::string first_skipped = {};                           ///< "FILE:LINE: the line ..."
  bool begins_after_line = false, ends_after_line = false;  ///< TextBlock's
};

struct JsonOptions {
  std::string text_field;
  bool skip_bad_lines = false;
  std::int64_t longest_line = 0;  ///< a longer one is bad; BlockLimits::longest_json_line
};

/// Throws input_error "FILE: ..." for NUL bytes and, unless they are to be skipped, "FILE:LINE: ..." for bad JSON lines.
BlockText read_block(TextBlock block, const TextFile& file, const JsonOptions& options);

}  // namespace bittern
