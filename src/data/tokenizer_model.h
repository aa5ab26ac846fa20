// What a loaded SentencePiece model is made of. Internal to src/data.
#pragma once

#include <sentencepiece_processor.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/tokenizer.h"

namespace bittern {

/// Classes of characters between which words may be cut.
enum class CharClass : std::uint8_t { space, newline, digit, letter, symbol, wide };
inline constexpr std::size_t char_classes = 6;

/// sentencepiece_model.proto, SentencePiece.Type
enum class PieceType : std::uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct Piece {
  std::string text;
  PieceType type = PieceType::normal;
};

struct Tokenizer::Model {
  std::string name;   ///< the file, for messages
  std::string bytes;  ///< the file's contents
  std::vector<Piece> pieces;
  std::int32_t unknown = 0, bos = -1, eos = -1;
  bool dummy_prefix = true;  ///< a space is put before a text, and taken off again by decoding
  bool verbatim = false;     ///< the normaliser only adds the dummy prefix, so words can be encoded by themselves
  /// joins[a][b]: some piece has a character of class b right after one of class a, so no word may be cut there.
  std::array<std::array<bool, char_classes>, char_classes> joins{};
  /// The model as it is; for a verbatim one, with its dummy prefix switched off (LineEncoder adds it).
  sentencepiece::SentencePieceProcessor processor;
};

/// Parses the file's bytes with every length checked, and refuses what would make the library read out of bounds.
/// Fills all of `model` but `processor`; `model.name` and `model.bytes` are given.
void parse_tokenizer_model(Tokenizer::Model& model);

/// The class of the character at the front of `text`, and its length.
struct CharAt {
  CharClass cls;
  std::uint8_t length;
};
CharAt char_at(std::string_view text);

}  // namespace bittern
