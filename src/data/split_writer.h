// SplitWriter: encoded blocks, in their order, to the shards of both splits. Internal to src/data.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bittern/tokenizer.h"
#include "data/encode_block.h"
#include "data/manifest.h"
#include "data/shard.h"

namespace bittern {

class SplitWriter {
 public:
  SplitWriter(const std::string& folder, const Tokenizer& tokenizer, std::int64_t shard_tokens);
  /// Where a document ends, or the other split begins, EOS is written: to the split whose document is open.
  void write(const Encoded& encoded);
  std::int64_t tokens() const { return train_.tokens() + valid_.tokens(); }
  std::int64_t unknown_tokens() const { return unknown_tokens_; }
  const std::string& unknown_example() const { return unknown_example_; }
  std::int64_t forced_cuts() const { return encoder_.forced_cuts(); }
  SplitInfo finish(Split split);

 private:
  ShardWriter& writer(Split split) { return split == Split::train ? train_ : valid_; }
  void put(std::span<const std::int32_t> ids);
  void note_example(std::string example);
  void leave_encoder();
  void end_document();

  const Tokenizer& tokenizer_;
  ShardWriter train_, valid_;
  TextEncoder encoder_;        // of what was left as text
  std::optional<Split> open_;  // whose document goes on
  bool encoding_ = false;      // `encoder_` is inside it
  std::int32_t last_ = -1;     // id of the open document
  std::vector<std::int32_t> ids_;
  std::int64_t text_bytes_[2] = {};
  std::int64_t unknown_tokens_ = 0;
  std::string unknown_example_;
};

}  // namespace bittern
