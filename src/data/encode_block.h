// Encoding a block of text, given what lies before it: a pure function, so blocks are encoded in parallel. Internal to
// src/data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bittern/token_file.h"
#include "bittern/tokenizer.h"
#include "data/block_text.h"
#include "data/split_plan.h"

namespace bittern {

/// What lies before a block: known after the first pass.
struct BlockPlace {
  std::int64_t text_bytes = 0;
  std::uint64_t open_document = 0;  ///< hash of the text of the document that the block begins inside
};

/// A block as stretches of text, each of one document and one split. What lies between two EOS is encoded as a text of
/// its own, and may reach over blocks. Where it cannot be divided between two encoders it is left as text, for the one
/// that goes through the blocks in order.
struct Encoded {
  struct Run {
    Split split = Split::train;
    bool starts = false, ends = false;  ///< `starts` may be unknown (false) where the other split ends near
    bool left_as_text = false;
    std::int64_t text_bytes = 0;
    std::size_t ids_end = 0;
    std::string text = {};
  };
  std::vector<std::int32_t> ids;
  std::vector<Run> runs;
  std::int64_t text_bytes = 0;
  std::string unknown_example = {};  ///< what became <unk>
};

/// `after`: hash of the text of the document that goes on behind the block.
Encoded encode_block(const BlockText& block, const BlockPlace& place, std::uint64_t after, const SplitPlan& plan,
                     const Tokenizer& tokenizer, TextEncoder& encoder);

}  // namespace bittern
