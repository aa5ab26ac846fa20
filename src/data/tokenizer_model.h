// What a loaded SentencePiece model is made of. Internal to src/data.
#pragma once

#include <sentencepiece_processor.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/tokenizer.h"
#include "data/piece_trie.h"

namespace bittern {

inline constexpr std::string_view space_symbol = "\xE2\x96\x81";  // U+2581, how SentencePiece writes a space

/// Classes of characters between which words may be cut.
enum class CharClass : std::uint8_t { space, newline, digit, letter, symbol, wide };
inline constexpr std::size_t char_classes = 6;

/// sentencepiece_model.proto, SentencePiece.Type
enum class PieceType : std::uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct Piece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;

  /// Whether text can become this piece: <s>, <unk> and <0x0A> are no texts.
  bool is_text() const {
    return type == PieceType::normal || type == PieceType::user_defined || type == PieceType::unused;
  }
};

/// What is done to a text before it is cut into pieces (sentencepiece_model.proto, NormalizerSpec).
struct Normalization {
  bool dummy_prefix = true;      ///< a space is put before a text, and taken off again by decoding
  bool space_is_suffix = false;  ///< that space is put behind the text instead
  bool squeeze_spaces = true;    ///< runs of spaces become one, those around a text go
  bool escape_spaces = true;     ///< a space becomes U+2581
  std::string charsmap = {};     ///< a table of what becomes what (normalizer.cpp); empty: nothing changes

  /// At most a dummy prefix: then text can be cut into words as it is.
  bool keeps_text() const { return charsmap.empty() && !squeeze_spaces && escape_spaces && !space_is_suffix; }
};

/// Which characters stand side by side in some piece. Two that do so in none are never merged.
class Joins {
 public:
  void add(std::string_view piece);
  void add_all_but_before_spaces();
  /// `a` and `b` are characters with their classes, side by side in a text.
  bool operator()(CharClass a, std::string_view a_bytes, CharClass b, std::string_view b_bytes) const {
    return classes_[static_cast<std::size_t>(a)][static_cast<std::size_t>(b)] &&
           (a != CharClass::wide || b != CharClass::wide || all_ || wide_[hash(a_bytes, b_bytes)]);
  }
  /// Whether a newline may be joined with a character of another class after it.
  bool any_after_newline() const;

 private:
  static std::size_t hash(std::string_view a, std::string_view b);
  std::array<std::array<bool, char_classes>, char_classes> classes_{};
  bool all_ = false;
  std::vector<bool> wide_ = std::vector<bool>(std::size_t{1} << 20);  ///< by hash: pairs of wide characters
};

struct Tokenizer::Model {
  std::string name;   ///< the file, for messages
  std::string bytes;  ///< the file's contents
  TokenizerKind kind = TokenizerKind::unigram;
  std::vector<Piece> pieces;
  std::int32_t unknown = 0, bos = -1, eos = -1, pad = -1;
  bool byte_fallback = false;                ///< text without a piece becomes bytes; without it, <unk>
  std::array<std::int32_t, 256> byte_ids{};  ///< with byte fallback
  Normalization normalization;
  Joins joins;
  PieceTrie user_defined;  ///< they are found first, and never merged with anything
  PieceTrie texts;         ///< unigram: all pieces that are texts
  /// The model with a normaliser that does nothing: TextEncoder has done it all.
  sentencepiece::SentencePieceProcessor processor;
};

/// Tokenizer::lines_are_apart.
bool lines_are_apart(const Tokenizer::Model& model);

/// Parses the file's bytes with every length checked, and refuses what would make the library read out of bounds.
/// Fills all of `model` but `processor`; `model.name` and `model.bytes` are given.
void parse_tokenizer_model(Tokenizer::Model& model);

/// The class of the character at the front of `text`, and its length.
struct CharAt {
  CharClass cls;
  std::uint8_t length;
};
CharAt char_at(std::string_view text);

/// The byte that a piece "<0x0A>" stands for, or -1.
int byte_of(std::string_view piece);

}  // namespace bittern
