// Encoding a block of text, given what lies before it: a pure function, so blocks are encoded in parallel. Internal to
// src/data.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "bittern/token_file.h"
#include "bittern/tokenizer.h"
#include "data/block_text.h"
#include "data/split_plan.h"

namespace bittern {

/// What lies before a block: known after the first pass.
struct BlockPlace {
  std::int64_t documents = 0, text_bytes = 0;
};

/// The lines of a text, as the tokenizer sees them.
template <typename Each>
void for_each_line(std::string_view text, Each each) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, line_length(text));
    each(line);
    text.remove_prefix(line.size());
  }
}

/// The ids of a block, in runs that belong to one split.
struct Encoded {
  struct Run {
    std::size_t ids_end = 0;
    std::int64_t text_bytes = 0;
    Split split = Split::train;
    bool ends_document = false;
  };
  std::vector<std::int32_t> ids;
  std::vector<Run> runs;
  std::int64_t text_bytes = 0;
};

Encoded encode_block(const BlockText& block, BlockPlace place, const SplitPlan& plan, LineEncoder& encoder);

}  // namespace bittern
