// Normalised text -> ids, for a text that is given in parts. Internal to src/data.
//
//   WordEncoder      byte-pair, word and character models: by words that no piece joins, each encoded by SentencePiece
//   UnigramEncoder   unigram models: the best path through all pieces, with SentencePiece's own arithmetic
//
// The ids of the parts joined are SentencePiece's ids of the whole. `add` gives what is decided, `end` the rest.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer_model.h"

namespace bittern {

/// Where ids go. A run of text without a piece is one <unk>, so an <unk> behind an <unk> is left out.
class IdSink {
 public:
  IdSink(const Tokenizer::Model& model, std::vector<std::int32_t>& out, bool& after_unknown, std::string& example)
      : model_(model), out_(out), after_unknown_(after_unknown), example_(example) {}
  /// `text`: what the id stands for; the first that becomes <unk> is kept as an example.
  void put(std::int32_t id, std::string_view text) {
    const bool unknown = id == model_.unknown && !model_.byte_fallback;
    if (!unknown || !after_unknown_) out_.push_back(id);
    if (unknown && example_.empty()) example_ = text.substr(0, longest_example);
    after_unknown_ = unknown;
  }

 private:
  static constexpr std::size_t longest_example = 32;
  const Tokenizer::Model& model_;
  std::vector<std::int32_t>& out_;
  bool& after_unknown_;
  std::string& example_;
};

class PieceEncoder {
 public:
  virtual ~PieceEncoder() = default;
  virtual void add(std::string_view text, IdSink& out) = 0;
  virtual void end(IdSink& out) = 0;
  /// How often text had to be cut where a piece might have lain, because it held no place to cut it for too long.
  virtual std::int64_t forced_cuts() const { return 0; }
};

std::unique_ptr<PieceEncoder> make_word_encoder(std::shared_ptr<const Tokenizer::Model> model);
std::unique_ptr<PieceEncoder> make_unigram_encoder(std::shared_ptr<const Tokenizer::Model> model);

}  // namespace bittern
