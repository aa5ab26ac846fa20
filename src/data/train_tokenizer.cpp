// Training a SentencePiece byte-pair model.
//
// The options are LLaMA's, but for the normaliser: identity, no dummy prefix, spaces kept, so that decode(encode(x)) ==
// x. A newline is no part of any piece (training texts are cut at newlines) and becomes the byte piece <0x0A>.
// Reference: Kudo and Richardson 2018, SentencePiece; Touvron et al. 2023, LLaMA, section 2.1 (digits split, byte
// fallback).
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <unordered_map>

#include "base/child_process.h"
#include "bittern/error.h"
#include "bittern/tokenizer.h"

namespace bittern {
namespace {

// Gives the trainer line after line. A tab is SentencePiece's own separator, so texts are cut at tabs as well.
class LineIterator final : public sentencepiece::SentenceIterator {
 public:
  explicit LineIterator(const std::vector<std::string>& texts) : texts_(texts) { Next(); }
  bool done() const override { return done_; }
  void Next() override {
    line_.clear();
    while (text_ < texts_.size()) {
      const std::string& text = texts_[text_];
      if (at_ >= text.size()) {
        ++text_;
        at_ = 0;
        continue;
      }
      const std::size_t end = std::min(text.find_first_of("\n\r\t", at_), text.size());
      line_.assign(text, at_, end - at_);
      at_ = end + 1;
      if (!line_.empty()) return;
    }
    done_ = true;
  }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& texts_;
  std::size_t text_ = 0, at_ = 0;
  std::string line_;
  bool done_ = false;
};

// "...required_chars. 280 vs 298. Increase..." -> 298, or 0.
std::int64_t smallest_vocabulary(const std::string& reason) {
  const std::size_t at = reason.find("required_chars");
  const std::size_t versus = reason.find(" vs ", at == std::string::npos ? reason.size() : at);
  return versus == std::string::npos ? 0 : std::strtoll(reason.c_str() + versus + 4, nullptr, 10);
}

// "M" and the model's file, or "E" and the reason why there is none.
std::string train(const std::vector<std::string>& sample, std::int64_t vocab_size) {
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(vocab_size)},
      {"hard_vocab_limit", "false"},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"allow_whitespace_only_pieces", "true"},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"character_coverage", "0.9995"},
      {"max_sentence_length", "1000000000"},
      {"num_threads", "1"},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"minloglevel", "0"},
  };
  std::string bytes;
  try {
    LineIterator lines(sample);
    const auto status = sentencepiece::SentencePieceTrainer::Train(options, &lines, &bytes);
    return status.ok() ? "M" + bytes : "E" + status.ToString();
  } catch (const std::exception& error) {
    return std::string("E") + error.what();
  }
}

// "bpe_model_trainer.cc(268) LOG(INFO) Added: freq=8 size=1120 all=9022 active=..." -> 1120; or 0.
std::int64_t merges_said(std::string_view line) {
  const std::size_t added = line.find("Added: "), size = line.find(" size=", std::min(added, line.size()));
  return added == std::string_view::npos || size == std::string_view::npos
             ? 0
             : std::strtoll(std::string(line.substr(size + 6)).c_str(), nullptr, 10);
}

}  // namespace

std::string train_tokenizer(const std::vector<std::string>& sample, const TokenizerTraining& training) {
  constexpr std::int64_t special = 3 + 256;  // <unk> <s> </s> and the bytes
  constexpr std::int64_t largest = 1 << 20;
  if (training.vocab_size <= special || training.vocab_size > largest)
    throw input_error("vocab size is {}; expected {} to {}: {} ids are taken by the bytes and the special tokens",
                      training.vocab_size, special + 1, largest, special);
  if (LineIterator(sample).done()) throw input_error("there is no text to train a tokenizer on; give more text");

  std::int64_t merges = 0;
  std::string last_line;
  const ChildResult child = run_in_child([&] { return train(sample, training.vocab_size); },
                                         [&](std::string_view line) {
                                           merges = std::max(merges, merges_said(line));
                                           last_line = line;
                                           if (training.verbose) fmt::print(stderr, "{}\n", line);
                                         },
                                         [&] {
                                           if (training.progress)
                                             training.progress(std::min(special + merges, training.vocab_size));
                                         });
  if (!child.answered || child.answer.empty())
    throw failure("the tokenizer's training broke off (signal {}{}); SentencePiece said last: {}", child.signal,
                  child.signal == 9 ? ", maybe for lack of memory" : "", last_line);
  const bool trained = child.answer.front() == 'M';
  const std::string bytes = trained ? child.answer.substr(1) : "", reason = trained ? "" : child.answer.substr(1);
  if (const std::int64_t smallest = smallest_vocabulary(reason); smallest > training.vocab_size)
    throw input_error(
        "vocab size is {}; expected at least {}: the text has that many different characters, bytes and "
        "special tokens; choose a larger vocab size",
        training.vocab_size, smallest);
  if (!reason.empty()) throw input_error("SentencePiece cannot train a tokenizer on this text: {}", reason);
  const std::int64_t reached = Tokenizer::from_bytes(bytes, "the trained tokenizer").vocab_size();
  if (reached != training.vocab_size)
    throw input_error(
        "vocab size is {}; expected at most {}: the text is too short for more; choose a smaller vocab size "
        "or give more text",
        training.vocab_size, reached);
  return bytes;
}

}  // namespace bittern
