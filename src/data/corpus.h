// The first pass over a text of any size: checks it, counts it, samples it for a tokenizer. Internal to src/data.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bittern/prepare.h"
#include "data/block_text.h"
#include "data/encode_block.h"

namespace bittern {

struct Corpus {
  std::vector<TextFile> files;
  std::int64_t input_bytes = 0;    ///< of the files
  std::vector<BlockPlace> places;  ///< of every block, and one more behind the last
  std::int64_t documents = 0, text_bytes = 0;
  std::int64_t replaced = 0;   ///< bytes that were not UTF-8
  std::string first_replaced;  ///< "FILE, byte N"
  std::int64_t skipped = 0;    ///< JSON lines
  std::string first_skipped;   ///< "FILE:LINE: the line ..."
  std::int64_t copies = 0;     ///< documents with the text of one before; counted where they may matter (scan)
  std::vector<std::string> sample;
};

/// How `tell` is called, from the calling thread: bytes read, of how many.
using ScanProgress = std::function<void(std::int64_t bytes, std::int64_t of)>;

BlockLimits block_limits(const PrepareOptions& options);
JsonOptions json_options(const PrepareOptions& options);

/// Fills all of `corpus` but `files`, which is given. Copies are counted where validation would be split by place, in
/// which they can lie in both splits.
void scan(Corpus& corpus, const PrepareOptions& options, int threads, bool sampling, const ScanProgress& tell);

/// What more is under way than this waits, in every pass.
inline constexpr std::int64_t most_bytes_under_way = std::int64_t{128} << 20;

}  // namespace bittern
