// A SentencePiece model file is a protobuf message (sentencepiece_model.proto of google/sentencepiece). This reader
// walks its wire format: it learns what bittern needs to know (types of pieces, the normaliser's switches) and refuses
// what the library would follow out of bounds: the normaliser's table is a double-array trie whose offsets nobody
// checks.
#include "data/tokenizer_model.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "bittern/error.h"
#include "data/utf8.h"

namespace bittern {
namespace {

constexpr std::size_t most_pieces = 1 << 22;

// One field of a message: a varint or fixed-width number, or a run of bytes.
struct Field {
  std::uint32_t number = 0;
  std::uint32_t wire = 0;
  std::uint64_t value = 0;
  std::string_view bytes;
};

class WireReader {
 public:
  WireReader(std::string_view bytes, const std::string& name) : rest_(bytes), name_(name) {}

  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    Field field;
    const std::uint64_t tag = varint();
    field.number = static_cast<std::uint32_t>(tag >> 3);
    field.wire = static_cast<std::uint32_t>(tag & 7);
    if (tag >> 32 || field.number == 0) refuse();
    switch (field.wire) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.value = fixed(4);
        break;
      default:
        refuse();
    }
    return field;
  }

 private:
  [[noreturn]] void refuse() const {
    throw input_error("{}: is not a SentencePiece model, or is damaged or cut short; expected a .model file", name_);
  }
  std::string_view take(std::uint64_t count) {
    if (count > rest_.size()) refuse();
    const std::string_view front = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return front;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    refuse();
  }
  std::uint64_t fixed(std::size_t width) {
    std::uint64_t value = 0;
    std::memcpy(&value, take(width).data(), width);
    return value;
  }

  std::string_view rest_;
  const std::string& name_;
};

std::uint32_t word_at(std::string_view bytes, std::size_t index) {
  std::uint32_t word;
  std::memcpy(&word, bytes.data() + 4 * index, 4);
  return word;
}

// The normaliser's table: u32 size of the trie in bytes, the trie (darts-clone units of 32 bits), then NUL-ended texts.
// A walk goes from unit i to i ^ offset ^ (byte of the key), so every target within its block of 256 must exist, and
// the value of a leaf must lie inside the texts.
bool charsmap_is_safe(std::string_view map) {
  if (map.empty()) return true;
  if (map.size() < 4) return false;
  const std::uint32_t trie_bytes = word_at(map, 0);
  map.remove_prefix(4);
  if (trie_bytes % 1024 != 0 || trie_bytes == 0 || trie_bytes >= map.size()) return false;
  const std::string_view texts = map.substr(trie_bytes);
  if (texts.back() != '\0') return false;
  const std::size_t units = trie_bytes / 4;
  for (std::size_t i = 0; i < units; ++i) {
    const std::uint32_t unit = word_at(map, i);
    if (unit >> 31) continue;  // a leaf: it holds a value, and no key byte can lead through it
    const std::size_t target = i ^ (static_cast<std::size_t>(unit >> 10) << ((unit & (1u << 9)) >> 6));
    if ((target | 0xFF) >= units) return false;
    const bool has_leaf = (unit >> 8) & 1;
    if (has_leaf && (word_at(map, target) & 0x7FFFFFFFu) >= texts.size()) return false;
  }
  return true;
}

struct Normalizer {
  bool dummy_prefix = true, squeeze_spaces = true, escape_spaces = true, has_charsmap = false;
};

// A message that occurs twice is merged, as protobuf defines: hence the argument that is changed.
void parse_normalizer(std::string_view bytes, const std::string& name, Normalizer& normalizer) {
  WireReader reader(bytes, name);
  while (const auto field = reader.next()) {
    if (field->number == 2) {
      normalizer.has_charsmap = !field->bytes.empty();
      if (!charsmap_is_safe(field->bytes))
        throw input_error("{}: its normalisation table is damaged; get the .model file again", name);
    }
    if (field->number == 3) normalizer.dummy_prefix = field->value != 0;
    if (field->number == 4) normalizer.squeeze_spaces = field->value != 0;
    if (field->number == 5) normalizer.escape_spaces = field->value != 0;
  }
}

struct Trainer {
  bool is_bpe = false, space_is_suffix = false, byte_fallback = false;
};

void parse_trainer(std::string_view bytes, const std::string& name, Trainer& trainer) {
  WireReader reader(bytes, name);
  while (const auto field = reader.next()) {
    if (field->number == 3) trainer.is_bpe = field->value == 2;
    if (field->number == 24) trainer.space_is_suffix = field->value != 0;
    if (field->number == 35) trainer.byte_fallback = field->value != 0;
  }
}

Piece parse_piece(std::string_view bytes, const std::string& name) {
  Piece piece;
  WireReader reader(bytes, name);
  while (const auto field = reader.next()) {
    if (field->number == 1) piece.text = field->bytes;
    if (field->number == 2) {
      const auto bits = static_cast<std::uint32_t>(field->value);
      float score;
      std::memcpy(&score, &bits, 4);
      if (!std::isfinite(score))
        throw input_error("{}: a piece has the score {}; get the .model file again", name, score);
    }
    if (field->number == 3) {
      if (field->value < 1 || field->value > 6)
        throw input_error("{}: a piece has the unknown type {}; get the .model file again", name, field->value);
      piece.type = static_cast<PieceType>(field->value);
    }
  }
  if (utf8_valid_prefix(piece.text) != piece.text.size())
    throw input_error("{}: a piece is not UTF-8; get the .model file again", name);
  return piece;
}

void mark_joins(Tokenizer::Model& model) {
  for (const Piece& piece : model.pieces) {
    if (piece.type == PieceType::control || piece.type == PieceType::byte || piece.type == PieceType::unknown) continue;
    std::string_view text = piece.text;
    for (std::optional<CharClass> before; !text.empty();) {
      const CharAt here = char_at(text);
      if (before) model.joins[static_cast<std::size_t>(*before)][static_cast<std::size_t>(here.cls)] = true;
      before = here.cls;
      text.remove_prefix(here.length);
    }
  }
}

}  // namespace

CharAt char_at(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead >= 0x80) {
    if (text.substr(0, 3) == "\xE2\x96\x81") return {CharClass::space, 3};  // U+2581, how SentencePiece writes a space
    const std::size_t length = utf8_length(lead);
    return {CharClass::wide, static_cast<std::uint8_t>(length == 0 || length > text.size() ? 1 : length)};
  }
  if (lead == ' ') return {CharClass::space, 1};
  if (lead == '\n') return {CharClass::newline, 1};
  if (lead >= '0' && lead <= '9') return {CharClass::digit, 1};
  if ((lead | 32) >= 'a' && (lead | 32) <= 'z') return {CharClass::letter, 1};
  return {CharClass::symbol, 1};
}

void parse_tokenizer_model(Tokenizer::Model& model) {
  Normalizer normalizer, denormalizer{false, false, false, false};
  Trainer trainer;
  WireReader reader(model.bytes, model.name);
  while (const auto field = reader.next()) {
    if (field->number == 1) model.pieces.push_back(parse_piece(field->bytes, model.name));
    if (field->number == 2) parse_trainer(field->bytes, model.name, trainer);
    if (field->number == 3) parse_normalizer(field->bytes, model.name, normalizer);
    if (field->number == 5) parse_normalizer(field->bytes, model.name, denormalizer);
    if (model.pieces.size() > most_pieces)
      throw input_error("{}: has more than {} pieces; expected a SentencePiece model", model.name, most_pieces);
  }
  if (model.pieces.empty()) throw input_error("{}: has no pieces; expected a SentencePiece .model file", model.name);
  model.dummy_prefix = normalizer.dummy_prefix;
  model.verbatim = trainer.is_bpe && trainer.byte_fallback && !trainer.space_is_suffix && !normalizer.has_charsmap &&
                   !normalizer.squeeze_spaces && normalizer.escape_spaces && !denormalizer.has_charsmap;
  mark_joins(model);
}

}  // namespace bittern
