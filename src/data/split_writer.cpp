// The end of the line of `prepare`: ids to shards, and the stretches of text that must be encoded in order.
#include "data/split_writer.h"

#include <algorithm>
#include <utility>

namespace bittern {

SplitWriter::SplitWriter(const std::string& folder, const Tokenizer& tokenizer, std::int64_t shard_tokens)
    : tokenizer_(tokenizer),
      train_(folder, "train", tokenizer.vocab_size(), tokenizer.eos(), shard_tokens),
      valid_(folder, "valid", tokenizer.vocab_size(), tokenizer.eos(), shard_tokens),
      encoder_(tokenizer) {}

// Of an <unk> on both sides of a border between encoders one is left out: a run of unknown text is one <unk>.
void SplitWriter::put(std::span<const std::int32_t> ids) {
  if (!tokenizer_.byte_fallback()) {
    const std::int32_t unknown = tokenizer_.unknown();
    if (!ids.empty() && last_ == unknown && ids.front() == unknown) ids = ids.subspan(1);
    unknown_tokens_ += std::count(ids.begin(), ids.end(), unknown);
  }
  if (ids.empty()) return;
  last_ = ids.back();
  writer(*open_).append(ids);
}

void SplitWriter::note_example(std::string example) {
  if (unknown_example_.empty()) unknown_example_ = std::move(example);
}

// The ids that `encoder_` still holds; the document goes on elsewhere.
void SplitWriter::leave_encoder() {
  if (!encoding_) return;
  encoding_ = false;
  ids_.clear();
  encoder_.leave_after_line(ids_);
  put(ids_);
}

void SplitWriter::end_document() {
  if (!open_) return;
  if (encoding_) {
    ids_.clear();
    encoder_.end(ids_);
    put(ids_);
    encoding_ = false;
    note_example(encoder_.take_unknown_example());
  }
  writer(*open_).end_document();
  open_.reset();
  last_ = -1;
}

void SplitWriter::write(const Encoded& encoded) {
  note_example(encoded.unknown_example);
  std::size_t at = 0;
  for (const Encoded::Run& run : encoded.runs) {
    const bool starts = run.starts || !open_ || *open_ != run.split;
    if (starts) end_document();
    open_ = run.split;
    text_bytes_[run.split == Split::valid] += run.text_bytes;
    const auto ids = std::span(encoded.ids).subspan(at, run.ids_end - at);
    at = run.ids_end;
    if (!run.left_as_text) {
      leave_encoder();
      put(ids);
    } else {
      // A run that begins elsewhere than at a document's start after one that was encoded goes on after a line.
      if (!encoding_ && !starts) encoder_.enter_after_line();
      encoding_ = true;
      ids_.clear();
      encoder_.add(run.text, ids_);
      put(ids_);
    }
    if (run.ends) end_document();
  }
}

SplitInfo SplitWriter::finish(Split split) {
  end_document();
  ShardWriter& of = writer(split);
  const auto& shards = of.finish();
  return {of.tokens(), of.documents(), text_bytes_[split == Split::valid], shards};
}

}  // namespace bittern
