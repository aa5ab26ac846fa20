// Tokenizer: loading, and ids -> text. Text -> ids is src/data/text_encoder.cpp.
#include "bittern/tokenizer.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/foreign_format.h"
#include "base/utf8.h"
#include "bittern/error.h"
#include "bittern/file.h"
#include "data/tokenizer_model.h"

// Every version of the library has it, and no installed header.
namespace sentencepiece::logging {
void SetMinLogLevel(int level);
}

namespace bittern {
namespace {

constexpr std::int64_t largest_model_file = std::int64_t{64} << 20;

// A message merged into the model's own: field 3 (normalizer_spec), 8 bytes: field 2 (precompiled_charsmap) = "", field 3
// (add_dummy_prefix) = false, field 4 (remove_extra_whitespaces) = false. Protobuf defines that a repeated occurrence of a
// message field is merged into the first.
constexpr std::string_view no_normalization("\x1A\x06\x12\x00\x18\x00\x20\x00", 8);

std::string with_spaces(std::string_view piece) {
  std::string text;
  for (std::size_t i = 0; i < piece.size();) {
    const bool space = piece.substr(i, 3) == space_symbol;
    text += space ? ' ' : piece[i];
    i += space ? 3 : 1;
  }
  return text;
}

// Whether `bytes` (1 to 3 of them) can still grow into a character.
bool may_be_completed(std::string_view bytes) {
  if (utf8_length(static_cast<unsigned char>(bytes[0])) <= bytes.size()) return false;
  std::string completed(bytes);
  for (const char next : {'\x80', '\x90', '\xA0'}) {  // one of these is right after any lead byte
    completed.resize(bytes.size());
    if (bytes.size() == 1) completed += next;
    while (completed.size() < utf8_length(static_cast<unsigned char>(bytes[0]))) completed += '\x80';
    if (utf8_character(completed) != 0) return true;
  }
  return false;
}

// Moves all that is decided from `held` to the result: characters as they are, stray bytes as U+FFFD.
std::string settle(std::string& held, bool all) {
  std::string out;
  std::size_t at = 0;
  while (at < held.size()) {
    const std::string_view rest = std::string_view(held).substr(at);
    const std::size_t good = utf8_valid_prefix(rest);
    out.append(rest.substr(0, good));
    at += good;
    if (at == held.size()) break;
    if (!all && held.size() - at < 4 && may_be_completed(rest.substr(good))) break;
    out.append(replacement_character);
    ++at;
  }
  held.erase(0, at);
  return out;
}

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::string& path) {
  return from_bytes(read_whole_file(path, largest_model_file, "a tokenizer model"), path);
}

namespace {

// What is handed out under the same names.
void refuse_other_formats(std::string_view bytes, const std::string& name) {
  const std::string_view instead =
      "expected a SentencePiece .model file; one may lie beside it, or `bittern prepare --vocab-size N` trains one";
  if (const auto foreign = foreign_format(bytes))
    throw input_error("{}: is {}; {}", name, foreign->name, foreign->advice);
  const std::size_t first = bytes.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && bytes[first] == '{')
    throw input_error("{}: is JSON, such as Hugging Face's tokenizer.json, which is not read; {}", name, instead);
  // tiktoken: lines of a token in base64, a space, and its rank.
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  const std::size_t space = line.find(' ');
  const auto only = [](std::string_view text, std::string_view of) {
    return !text.empty() && text.find_first_not_of(of) == std::string_view::npos;
  };
  if (space != std::string_view::npos && only(line.substr(space + 1), "0123456789\r") &&
      only(line.substr(0, space), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
    throw input_error("{}: is a tiktoken list of tokens (Llama 3's tokenizer.model is one), which is not read; {}",
                      name, instead);
  if (bytes.starts_with("#version"))
    throw input_error("{}: is a list of merges (merges.txt), which is not read; {}", name, instead);
}

void load_processor(sentencepiece::SentencePieceProcessor& processor, const std::string& bytes,
                    const std::string& name) {
  std::string reason;
  sentencepiece::logging::SetMinLogLevel(2);  // errors: some versions say of each model that it normalises nothing
  try {
    const auto status = processor.LoadFromSerializedProto(bytes);
    if (!status.ok()) reason = status.ToString();
  } catch (const std::exception& error) {
    reason = error.what();
  }
  if (!reason.empty())
    throw input_error("{}: SentencePiece cannot load it: {}; get the .model file again", name, reason);
}

}  // namespace

Tokenizer Tokenizer::from_bytes(std::string bytes, const std::string& name) {
  refuse_other_formats(bytes, name);
  auto model = std::make_shared<Model>();
  model->name = name;
  model->bytes = std::move(bytes);
  parse_tokenizer_model(*model);
  load_processor(model->processor, model->bytes + std::string(no_normalization), name);
  if (model->processor.GetPieceSize() != static_cast<int>(model->pieces.size()))
    throw input_error("{}: has {} pieces but SentencePiece sees {}; get the .model file again", name,
                      model->pieces.size(), model->processor.GetPieceSize());
  model->bos = model->processor.bos_id();
  model->eos = model->processor.eos_id();
  model->pad = model->processor.pad_id();
  Tokenizer tokenizer(std::move(model));
  tokenizer.compare_with_library();
  return tokenizer;
}

// The normaliser and the unigram model are bittern's own. A release of SentencePiece that did something else must not
// pass unseen, so a text of everything that may differ is encoded by both.
void Tokenizer::compare_with_library() const {
  if (kind() != TokenizerKind::unigram && model_->normalization.keeps_text()) return;
  std::string probe =
      "  A b\t c\n\n d  \xEF\xBC\xA1\xE2\x85\xA3 e\xCC\x81 \xC2\xA0x \xE3\x80\x80 <s> \xE2\x96\x81y 12,5. ";
  const std::size_t every = std::max<std::size_t>(1, model_->pieces.size() / 400);
  for (std::size_t i = 0; i < model_->pieces.size(); i += every)
    if (model_->pieces[i].is_text()) probe += with_spaces(model_->pieces[i].text) + (i % 3 == 0 ? " " : "");
  const std::vector<std::int32_t> own = encode(probe);
  sentencepiece::SentencePieceProcessor library;
  load_processor(library, model_->bytes, model_->name);
  std::vector<int> ids;
  if (!library.Encode(probe, &ids).ok() || ids != own)
    throw input_error(
        "{}: this release of the SentencePiece library gives other ids than bittern for it; train with a byte-pair model "
        "that keeps text as it is (`bittern prepare --vocab-size N` makes one)",
        model_->name);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  TokenDecoder decoder(*this);
  std::string text;
  for (const std::int32_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

const std::string& Tokenizer::piece(std::int32_t id) const {
  if (id < 0 || id >= vocab_size())
    throw input_error("token id {}: outside the vocabulary of {} ({} ids)", id, model_->name, vocab_size());
  return model_->pieces[static_cast<std::size_t>(id)].text;
}

std::int64_t Tokenizer::vocab_size() const {
  return static_cast<std::int64_t>(model_->pieces.size());
}
std::int32_t Tokenizer::unknown() const {
  return model_->unknown;
}
std::int32_t Tokenizer::bos() const {
  return model_->bos;
}
std::int32_t Tokenizer::eos() const {
  return model_->eos;
}
std::int32_t Tokenizer::pad() const {
  return model_->pad;
}
TokenizerKind Tokenizer::kind() const {
  return model_->kind;
}
bool Tokenizer::has_user_defined() const {
  return !model_->user_defined.empty();
}

bool Tokenizer::byte_fallback() const {
  return model_->byte_fallback;
}
bool Tokenizer::dummy_prefix() const {
  return model_->normalization.dummy_prefix;
}
std::string Tokenizer::normalization() const {
  const Normalization& how = model_->normalization;
  std::string words;
  const auto say = [&](bool is, const char* what) {
    if (is) words += (words.empty() ? "" : ", ") + std::string(what);
  };
  say(!how.charsmap.empty(), "characters are replaced by its table");
  say(how.squeeze_spaces, "runs of spaces become one");
  say(how.dummy_prefix && how.space_is_suffix, "a space is put behind a text");
  say(!how.escape_spaces, "spaces are not escaped");
  return words;
}
const std::string& Tokenizer::file_bytes() const {
  return model_->bytes;
}

TokenDecoder::TokenDecoder(const Tokenizer& tokenizer) : model_(tokenizer.model_) {}

std::string TokenDecoder::push(std::int32_t id) {
  if (id < 0 || static_cast<std::size_t>(id) >= model_->pieces.size())
    throw input_error("token id {}: outside the vocabulary of {} ({} ids)", id, model_->name, model_->pieces.size());
  const Piece& piece = model_->pieces[static_cast<std::size_t>(id)];
  switch (piece.type) {
    case PieceType::control:
      return "";
    case PieceType::byte:
      held_ += static_cast<char>(byte_of(piece.text));
      break;
    case PieceType::unknown:
      held_ += " \xE2\x81\x87 ";
      break;  // " ⁇ ", SentencePiece's own stand-in
    default: {
      std::string text = with_spaces(piece.text);
      if (at_start_ && model_->normalization.dummy_prefix && text.starts_with(' ')) text.erase(0, 1);
      held_ += text;
    }
  }
  at_start_ = false;
  return settle(held_, false);
}

std::string TokenDecoder::finish() {
  at_start_ = true;
  return settle(held_, true);
}

}  // namespace bittern
