// A SentencePiece model file is a protobuf message (sentencepiece_model.proto of google/sentencepiece). This reader
// walks its wire format: it learns what bittern needs to know (types of pieces, the normaliser's switches) and refuses
// what the library would follow out of bounds.
#include "data/tokenizer_model.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/utf8.h"
#include "bittern/error.h"
#include "data/normalizer.h"

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

// A message that occurs twice is merged, as protobuf defines: hence the argument that is changed.
void parse_normalizer(std::string_view bytes, const std::string& name, Normalization& normalization) {
  WireReader reader(bytes, name);
  while (const auto field = reader.next()) {
    if (field->number == 2) {
      if (!charsmap_is_safe(field->bytes))
        throw input_error("{}: its normalisation table is damaged; get the .model file again", name);
      normalization.charsmap = field->bytes;
    }
    if (field->number == 3) normalization.dummy_prefix = field->value != 0;
    if (field->number == 4) normalization.squeeze_spaces = field->value != 0;
    if (field->number == 5) normalization.escape_spaces = field->value != 0;
  }
}

void parse_trainer(std::string_view bytes, Tokenizer::Model& model) {
  WireReader reader(bytes, model.name);
  while (const auto field = reader.next()) {
    if (field->number == 3) {
      if (field->value < 1 || field->value > 4)
        throw input_error("{}: its model type is {}; expected 1 to 4 (unigram, BPE, word, character)", model.name,
                          field->value);
      model.kind = static_cast<TokenizerKind>(field->value);
    }
    if (field->number == 24) model.normalization.space_is_suffix = field->value != 0;
    if (field->number == 35) model.byte_fallback = field->value != 0;
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
      piece.score = score;
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

void fill_tables(Tokenizer::Model& model) {
  model.byte_ids.fill(-1);
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const Piece& piece = model.pieces[i];
    const auto id = static_cast<std::int32_t>(i);
    if (piece.type == PieceType::unknown) model.unknown = id;
    if (piece.type == PieceType::user_defined) model.user_defined.insert(piece.text, id);
    if (piece.type == PieceType::byte) {
      const int byte = byte_of(piece.text);
      if (byte < 0)
        throw input_error("{}: the byte piece '{}' names no byte; get the .model file again", model.name, piece.text);
      model.byte_ids[static_cast<std::size_t>(byte)] = id;
    }
    if (!piece.is_text()) continue;
    model.joins.add(piece.text);
    if (model.kind == TokenizerKind::unigram) model.texts.insert(piece.text, id);
  }
  // A word is looked up whole, so it is cut before a space and nowhere else.
  if (model.kind == TokenizerKind::word) model.joins.add_all_but_before_spaces();
  if (!model.byte_fallback) return;
  for (const std::int32_t id : model.byte_ids)
    if (id < 0) throw input_error("{}: has no piece for some byte; get the .model file again", model.name);
}

}  // namespace

CharAt char_at(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead >= 0x80) {
    if (text.starts_with(space_symbol)) return {CharClass::space, 3};
    const std::size_t length = utf8_length(lead);
    return {CharClass::wide, static_cast<std::uint8_t>(length == 0 || length > text.size() ? 1 : length)};
  }
  if (lead == ' ') return {CharClass::space, 1};
  if (lead == '\n') return {CharClass::newline, 1};
  if (lead >= '0' && lead <= '9') return {CharClass::digit, 1};
  if ((lead | 32) >= 'a' && (lead | 32) <= 'z') return {CharClass::letter, 1};
  return {CharClass::symbol, 1};
}

int byte_of(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  const int high = digit(piece[3]), low = digit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::size_t Joins::hash(std::string_view a, std::string_view b) {
  const auto word = [](std::string_view bytes) {
    std::uint64_t value = 0;
    for (const char c : bytes.substr(0, 4)) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  };
  return (word(a) << 32 | word(b)) * 0x9E3779B97F4A7C15ull >> 44;  // 20 bits
}

void Joins::add(std::string_view piece) {
  if (piece.empty()) return;
  CharAt before = char_at(piece);
  for (std::size_t begin = 0, at = before.length; at < piece.size();) {
    const CharAt here = char_at(piece.substr(at));
    classes_[static_cast<std::size_t>(before.cls)][static_cast<std::size_t>(here.cls)] = true;
    if (before.cls == CharClass::wide && here.cls == CharClass::wide)
      wide_[hash(piece.substr(begin, before.length), piece.substr(at, here.length))] = true;
    before = here;
    begin = at;
    at += here.length;
  }
}

void Joins::add_all_but_before_spaces() {
  all_ = true;
  for (auto& row : classes_) {
    row.fill(true);
    row[static_cast<std::size_t>(CharClass::space)] = false;
  }
}

bool Joins::any_after_newline() const {
  const auto& row = classes_[static_cast<std::size_t>(CharClass::newline)];
  for (std::size_t next = 0; next < char_classes; ++next)
    if (row[next] && next != static_cast<std::size_t>(CharClass::newline)) return true;
  return false;
}

bool lines_are_apart(const Tokenizer::Model& model) {
  return (model.kind == TokenizerKind::bpe || model.kind == TokenizerKind::character) &&
         model.normalization.keeps_text() && !model.joins.any_after_newline();
}

void parse_tokenizer_model(Tokenizer::Model& model) {
  WireReader reader(model.bytes, model.name);
  while (const auto field = reader.next()) {
    if (field->number == 1) model.pieces.push_back(parse_piece(field->bytes, model.name));
    if (field->number == 2) parse_trainer(field->bytes, model);
    if (field->number == 3) parse_normalizer(field->bytes, model.name, model.normalization);
    if (field->number == 5) {
      Normalization of_decoding;
      parse_normalizer(field->bytes, model.name, of_decoding);
    }
    if (model.pieces.size() > most_pieces)
      throw input_error("{}: has more than {} pieces; expected a SentencePiece model", model.name, most_pieces);
  }
  if (model.pieces.empty()) throw input_error("{}: has no pieces; expected a SentencePiece .model file", model.name);
  fill_tables(model);
}

}  // namespace bittern
