// Tokenizer: a SentencePiece model (`.model`), read from a file that may be hostile; text -> ids and ids -> text.
//
// The ids of a text are those that SentencePiece's own `Encode` gives for the whole of it, for every kind of model
// (byte-pair, unigram, word, character), with or without bytes for what has no piece, whatever its normaliser does. They
// do not depend on threads, buffers or caches, nor on the parts that a TextEncoder is given. One exception, which is
// counted: a stretch of more than 1 MiB in which a byte-pair model could merge everywhere is cut there.
//
// Bytes that are not UTF-8 are encoded as U+FFFD. Safe from many threads at once, except TextEncoder: one per thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bittern {

/// sentencepiece_model.proto, TrainerSpec.ModelType
enum class TokenizerKind : std::uint8_t { unigram = 1, bpe = 2, word = 3, character = 4 };
inline constexpr std::array<std::string_view, 5> tokenizer_kind_names = {"", "unigram", "bpe", "word", "character"};

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
  std::int32_t pad() const;  ///< -1 where the model has none
  TokenizerKind kind() const;
  /// Whether text without a piece becomes bytes. Where it does not, it becomes <unk> and is lost.
  bool byte_fallback() const;
  /// Whether it has pieces that the user defined: they are cut out of a text before anything else.
  bool has_user_defined() const;
  /// Whether a space is put before a text that is encoded, and taken off again by decoding.
  bool dummy_prefix() const;
  /// What is done to a text besides, in words ("runs of spaces become one"); empty where it stays as it is.
  std::string normalization() const;
  /// Whether no piece spans the border between a newline and what follows it, so that the parts of a text around it can
  /// be encoded by different TextEncoders.
  bool lines_are_apart() const;
  /// The model file, byte for byte, to be copied into a checkpoint.
  const std::string& file_bytes() const;

  struct Model;  // src/data/tokenizer_model.h

 private:
  friend class TextEncoder;
  friend class TokenDecoder;
  explicit Tokenizer(std::shared_ptr<const Model> model);
  void compare_with_library() const;
  std::shared_ptr<const Model> model_;
};

/// Encodes texts that are given in parts, in bounded memory. The ids of the parts joined are those of the whole text.
class TextEncoder {
 public:
  explicit TextEncoder(const Tokenizer& tokenizer);
  TextEncoder(TextEncoder&&) noexcept;
  ~TextEncoder();
  /// Appends to `out` what is decided after this part (valid UTF-8, whole characters).
  void add(std::string_view part, std::vector<std::int32_t>& out);
  /// The text is over: appends the rest. The next part begins another text.
  void end(std::vector<std::int32_t>& out);

  /// Only where `lines_are_apart`: the next part goes on inside a text, after a newline and before something else.
  void enter_after_line();
  /// ... and the text goes on in another encoder from such a place. Of an <unk> on both sides one is to be left out.
  void leave_after_line(std::vector<std::int32_t>& out);

  /// What became the first <unk> since this was asked last (its first bytes); empty where nothing did.
  std::string take_unknown_example();
  /// How often a stretch of more than 1 MiB without a border between pieces was cut.
  std::int64_t forced_cuts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
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
  /// Called some times a second with how many ids there are so far; what it throws ends the training.
  std::function<void(std::int64_t ids)> progress = {};
};

/// Trains a BPE model with byte fallback that keeps text as it is (ids: <unk> 0, <s> 1, </s> 2) and returns its file.
/// `sample` holds the texts to learn from; the result depends on nothing else. The library trains in a process of its
/// own, for it hears nothing while it does.
std::string train_tokenizer(const std::vector<std::string>& sample, const TokenizerTraining& training);

}  // namespace bittern
