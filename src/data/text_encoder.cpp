// Text -> ids: the normaliser, then the encoder of the model's kind.
#include <utility>

#include "base/utf8.h"
#include "bittern/error.h"
#include "data/normalizer.h"
#include "data/piece_encoder.h"

namespace bittern {

struct TextEncoder::State {
  explicit State(std::shared_ptr<const Tokenizer::Model> shared)
      : model(std::move(shared)),
        normalizer(*model),
        pieces(model->kind == TokenizerKind::unigram ? make_unigram_encoder(model) : make_word_encoder(model)),
        // SentencePiece writes these spaces as U+2581 itself.
        keeps_text(model->kind != TokenizerKind::unigram && model->normalization.keeps_text()) {}

  std::shared_ptr<const Tokenizer::Model> model;
  TextNormalizer normalizer;
  std::unique_ptr<PieceEncoder> pieces;
  const bool keeps_text;
  bool at_start = true, after_unknown = false;
  std::string normalized, example;
};

TextEncoder::TextEncoder(const Tokenizer& tokenizer) : state_(std::make_unique<State>(tokenizer.model_)) {}
TextEncoder::TextEncoder(TextEncoder&&) noexcept = default;
TextEncoder::~TextEncoder() = default;

void TextEncoder::add(std::string_view part, std::vector<std::int32_t>& out) {
  State& s = *state_;
  if (part.empty()) return;
  IdSink sink(*s.model, out, s.after_unknown, s.example);
  if (!s.keeps_text) {
    s.normalized.clear();
    s.normalizer.add(part, s.normalized);
    s.pieces->add(s.normalized, sink);
    return;
  }
  if (s.at_start && s.model->normalization.dummy_prefix) s.pieces->add(" ", sink);
  s.at_start = false;
  s.pieces->add(part, sink);
}

void TextEncoder::end(std::vector<std::int32_t>& out) {
  State& s = *state_;
  IdSink sink(*s.model, out, s.after_unknown, s.example);
  if (!s.keeps_text) {
    s.normalized.clear();
    s.normalizer.end(s.normalized);
    s.pieces->add(s.normalized, sink);
  }
  s.pieces->end(sink);
  s.at_start = true;
  s.after_unknown = false;
}

void TextEncoder::enter_after_line() {
  check(lines_are_apart(*state_->model), "{}: a text is entered where it cannot be divided", state_->model->name);
  state_->at_start = false;
}

void TextEncoder::leave_after_line(std::vector<std::int32_t>& out) {
  IdSink sink(*state_->model, out, state_->after_unknown, state_->example);
  state_->pieces->end(sink);
  state_->at_start = true;
  state_->after_unknown = false;
}

std::string TextEncoder::take_unknown_example() {
  return std::exchange(state_->example, {});
}

std::int64_t TextEncoder::forced_cuts() const {
  return state_->pieces->forced_cuts();
}

bool Tokenizer::lines_are_apart() const {
  return bittern::lines_are_apart(*model_);
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  std::string repaired;
  if (utf8_valid_prefix(text) != text.size()) {
    utf8_repair(text, repaired);
    text = repaired;
  }
  TextEncoder encoder(*this);
  std::vector<std::int32_t> ids;
  encoder.add(text, ids);
  encoder.end(ids);
  return ids;
}

}  // namespace bittern
