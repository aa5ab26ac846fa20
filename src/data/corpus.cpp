// The first pass over the text.
#include "data/corpus.h"

#include <algorithm>
#include <optional>

#include "bittern/error.h"
#include "bittern/file.h"
#include "data/ordered_parallel.h"
#include "data/split_plan.h"
#include "data/text_lines.h"
#include "data/text_sample.h"

namespace bittern {
namespace {

// Copies are looked for among so many documents at most: 32 MiB of hashes.
constexpr std::size_t most_hashes = std::size_t{4} << 20;

struct Scanned {
  std::size_t file = 0;
  BlockText text;
  std::vector<std::uint64_t> hashes;  // of the documents that lie in the block from end to end, in their order
};

Scanned read_and_hash(TextBlock block, const std::vector<TextFile>& files, const JsonOptions& options) {
  Scanned scanned{.file = block.file, .text = {}, .hashes = {}};
  scanned.text = read_block(std::move(block), files[scanned.file], options);
  for (const TextRange& range : scanned.text.ranges)
    if (range.starts_document && range.ends_document)
      scanned.hashes.push_back(
          checksum(as_bytes(std::string_view(scanned.text.text).substr(range.begin, range.end - range.begin))));
  return scanned;
}

class Scan {
 public:
  Scan(Corpus& corpus, const PrepareOptions& options, bool sampling)
      : corpus_(corpus), options_(options), sampling_(sampling), sample_(options.sample_bytes) {}

  void take(const Scanned& scanned) {
    const BlockText& block = scanned.text;
    corpus_.places.push_back({.text_bytes = corpus_.text_bytes});
    if (block.replaced > 0 && corpus_.replaced == 0)
      corpus_.first_replaced = fmt::format("{}, byte {}", corpus_.files[scanned.file].shown(), block.first_replaced);
    corpus_.replaced += block.replaced;
    if (block.skipped > 0 && corpus_.skipped == 0) corpus_.first_skipped = block.first_skipped;
    corpus_.skipped += block.skipped;
    auto whole = scanned.hashes.begin();
    std::int64_t position = corpus_.text_bytes;
    for (const TextRange& range : block.ranges) {
      const std::string_view text = std::string_view(block.text).substr(range.begin, range.end - range.begin);
      if (sampling_)
        for_each_line(text, [&](std::string_view line) {
          sample_.add(position, line);
          position += static_cast<std::int64_t>(line.size());
        });
      if (range.starts_document && range.ends_document)
        count(*whole++, text.empty());
      else
        take_part(text, range);
    }
    corpus_.documents += block.documents;
    corpus_.text_bytes += block.text_bytes;
  }

  void finish() {
    corpus_.places.push_back({.text_bytes = corpus_.text_bytes});
    corpus_.sample = sample_.take();
    if (SplitPlan::by_document(options_.valid_fraction, corpus_.documents)) return;
    std::sort(hashes_.begin(), hashes_.end());
    for (std::size_t i = 1; i < hashes_.size(); ++i) corpus_.copies += hashes_[i] == hashes_[i - 1];
  }

 private:
  // A document over several blocks: its hash is noted with every block that begins inside it.
  void take_part(std::string_view text, const TextRange& range) {
    if (range.starts_document) {
      open_ = Checksum();
      open_from_ = corpus_.places.size();  // the next block
      open_empty_ = true;
    }
    open_.update(as_bytes(text));
    open_empty_ = open_empty_ && text.empty();
    if (!range.ends_document) return;
    const std::uint64_t hash = open_.digest();
    for (std::size_t block = open_from_; block < corpus_.places.size(); ++block)
      corpus_.places[block].open_document = hash;
    count(hash, open_empty_);
  }
  void count(std::uint64_t hash, bool empty) {
    if (!empty && options_.valid_fraction > 0 && hashes_.size() < most_hashes &&
        !SplitPlan::by_document(options_.valid_fraction, corpus_.documents))
      hashes_.push_back(hash);
  }

  Corpus& corpus_;
  const PrepareOptions& options_;
  const bool sampling_;
  TextSample sample_;
  Checksum open_;
  std::size_t open_from_ = 0;
  bool open_empty_ = true;
  std::vector<std::uint64_t> hashes_;
};

}  // namespace

BlockLimits block_limits(const PrepareOptions& options) {
  return {options.block_bytes, options.longest_json_line};
}

JsonOptions json_options(const PrepareOptions& options) {
  return {options.text_field, options.skip_bad_lines, options.longest_json_line};
}

void scan(Corpus& corpus, const PrepareOptions& options, int threads, bool sampling, const ScanProgress& tell) {
  for (const TextFile& file : corpus.files) corpus.input_bytes += file.bytes;
  const JsonOptions json = json_options(options);
  Scan scan(corpus, options, sampling);
  BlockReader reader(corpus.files, block_limits(options));
  ordered_parallel<TextBlock, Scanned>(
      threads, most_bytes_under_way,
      [&] {
        tell(reader.consumed(), corpus.input_bytes);
        return reader.next();
      },
      [](const TextBlock& block) { return static_cast<std::int64_t>(block.bytes.size()); },
      [&](TextBlock&& block, int) { return read_and_hash(std::move(block), corpus.files, json); },
      [&](Scanned&& scanned) { scan.take(scanned); });
  scan.finish();
  if (corpus.text_bytes == 0)
    throw input_error("{}: holds no text; give a file with text", corpus.files.front().shown());
}

}  // namespace bittern
