// Tokenizer: a SentencePiece model (`.model`), read from a file that may be hostile; text -> ids and ids -> text.
//
// What encoding means (and so what does not depend on threads, buffers or caches): a text is cut into lines, a line
// being everything up to and including a run of newlines, and lines of more than `longest_line` bytes are cut further
// at a space or, failing that, between characters. Each line is encoded by itself and the ids are joined. For a model
// whose normaliser keeps the text as it is (LLaMA-2, Gemma, and what `bittern prepare` trains) no piece spans such a
// border, so the ids equal those of the whole text encoded at once, dummy prefix included. A model that normalises (T5)
// treats a newline as a space, and a line as SentencePiece's own command line does.
//
// Bytes that are not UTF-8 are encoded as U+FFFD. Safe from many threads at once, except LineEncoder: one per thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bittern {

/// A line is never longer than this (bytes).
inline constexpr std::size_t longest_line = 64 << 10;

/// The length of the first line of `text`, which is not empty.
std::size_t line_length(std::string_view text);

class Tokenizer {
 public:
  /// Reads a model file of at most 64 MiB; anything wrong with it is an input_error that names the file.
  static Tokenizer load(const std::string& path);
  /// The same from memory; `name` stands for the file in messages.
  static Tokenizer from_bytes(std::string bytes, const std::string& name);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  std::vector<std::int32_t> encode(std::string_view text) const;
  /// Throws where an id is outside the vocabulary. Ids of control pieces (BOS, EOS) decode to nothing.
  std::string decode(std::span<const std::int32_t> ids) const;
  /// The text of one piece as the model's file spells it ("<0x0A>", "▁the").
  const std::string& piece(std::int32_t id) const;

  std::int64_t vocab_size() const;
  std::int32_t unknown() const;
  std::int32_t bos() const;  ///< -1 where the model has none (T5)
  std::int32_t eos() const;  ///< -1 where the model has none
  /// The model file, byte for byte, to be copied into a checkpoint.
  const std::string& file_bytes() const;

  struct Model;  // src/data/tokenizer_model.h

 private:
  friend class LineEncoder;
  friend class TokenDecoder;
  explicit Tokenizer(std::shared_ptr<const Model> model);
  std::shared_ptr<const Model> model_;
};

/// Encodes line after line with a bounded cache of words. The cache changes the speed, never the ids.
class LineEncoder {
 public:
  explicit LineEncoder(const Tokenizer& tokenizer);
  LineEncoder(LineEncoder&&) noexcept;
  ~LineEncoder();
  /// Appends the ids of one line (valid UTF-8) to `out`. `first`: it begins a text, so the model's dummy prefix is due.
  void encode(std::string_view line, bool first, std::vector<std::int32_t>& out);

 private:
  struct Cache;
  std::shared_ptr<const Tokenizer::Model> model_;
  std::unique_ptr<Cache> cache_;
};

/// Streaming decoder: the pushes and `finish`, joined, are `decode` of all ids. Incomplete UTF-8 is held back.
class TokenDecoder {
 public:
  explicit TokenDecoder(const Tokenizer& tokenizer);
  std::string push(std::int32_t id);
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer::Model> model_;
  std::string held_;
  bool at_start_ = true;
};

/// What a SentencePiece BPE model is trained with by `bittern prepare`.
struct TokenizerTraining {
  std::int64_t vocab_size = 0;
  bool verbose = false;  ///< let SentencePiece log to stderr
};

/// Trains a BPE model with byte fallback that keeps text as it is (ids: <unk> 0, <s> 1, </s> 2) and returns its file.
/// `sample` holds the texts to learn from; the result depends on nothing else.
std::string train_tokenizer(const std::vector<std::string>& sample, const TokenizerTraining& training);

}  // namespace bittern
