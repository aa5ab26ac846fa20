// Unigram models: the path of pieces through the text with the largest sum of scores (Viterbi).
//
// SentencePiece adds scores up in float, from the beginning of a text on, so where two paths are nearly equal its choice
// depends on how much text lies before. Here the sum goes on from part to part in the same arithmetic (unigram_model.cc,
// EncodeOptimized), so the ids are the same; and only what is not decided is kept. All paths lead through a place that
// no piece spans, so all before it is decided there.
#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "data/piece_encoder.h"

namespace bittern {
namespace {

constexpr float unknown_penalty = 10.0f;
// Where no place is free of pieces for so long, the paths are walked back to where they part.
constexpr std::size_t much_text = std::size_t{64} << 10;
// Where they meet nowhere in so much text, which no trained model does, the best path so far is taken: else memory and
// time would grow without bound.
constexpr std::size_t most_text = std::size_t{1} << 20;

// How many bytes SentencePiece takes for a character that begins with `lead`.
std::size_t character_bytes(char lead) {
  return static_cast<std::size_t>("\1\1\1\1\1\1\1\1\1\1\1\1\2\2\3\4"[static_cast<unsigned char>(lead) >> 4]);
}

class UnigramEncoder final : public PieceEncoder {
 public:
  explicit UnigramEncoder(std::shared_ptr<const Tokenizer::Model> model) : model_(std::move(model)) {
    float least = std::numeric_limits<float>::max();
    most_ = std::numeric_limits<float>::min();  // as SentencePiece has it: the smallest number above 0
    for (const Piece& piece : model_->pieces) {
      longest_piece_ = std::max(longest_piece_, piece.text.size());
      if (piece.type != PieceType::normal) continue;
      least = std::min(least, piece.score);
      most_ = std::max(most_, piece.score);
    }
    unknown_score_ = least - unknown_penalty;
  }

  void add(std::string_view text, IdSink& out) override {
    text_ += text;
    best_.resize(text_.size() + 1);
    walk(false, out);
  }
  void end(IdSink& out) override {
    walk(true, out);  // no piece goes beyond the end, so all is decided there
    best_.assign(1, {});
  }
  std::int64_t forced_cuts() const override { return forced_cuts_; }

 private:
  // The best path to the end of a piece.
  struct Best {
    std::int32_t id = -1;
    float score = 0;
    std::size_t from = nowhere;  // where its last piece begins
  };
  static constexpr std::size_t nowhere = SIZE_MAX;

  void offer(std::size_t end, std::int32_t id, double score) {
    Best& best = best_[end];
    if (best.from == nowhere || score > static_cast<double>(best.score))
      best = {.id = id, .score = static_cast<float>(score), .from = at_};
    furthest_ = std::max(furthest_, end);
  }

  void walk(bool last, IdSink& out) {
    while (at_ < text_.size()) {
      const std::size_t character = character_bytes(text_[at_]);
      if (!last && at_ + longest_piece_ >= text_.size() &&
          (at_ + character > text_.size() || model_->texts.longest(std::string_view(text_).substr(at_)).undecided))
        break;
      const std::size_t one = std::min(character, text_.size() - at_);
      const float before = best_[at_].score;
      bool has_one = false;
      std::uint32_t node = PieceTrie::root;
      for (std::size_t end = at_; end < text_.size();) {
        const PieceTrie::Step step = model_->texts.step(node, text_[end]);
        if (step.node == 0) break;
        node = step.node;
        ++end;
        if (step.number < 0) continue;
        const Piece& piece = model_->pieces[static_cast<std::size_t>(step.number)];
        if (piece.type == PieceType::unused) continue;
        const std::size_t length = end - at_;
        // One that the user defined is worth more than any others in its place.
        const double score = piece.type == PieceType::user_defined
                                 ? static_cast<double>(static_cast<float>(length) * most_) - 0.1
                                 : static_cast<double>(piece.score);
        offer(end, step.number, score + static_cast<double>(before));
        has_one = has_one || length == one;
      }
      if (!has_one) offer(at_ + one, model_->unknown, static_cast<double>(unknown_score_ + before));
      at_ += one;
      if (furthest_ == at_)
        free_ = at_;
      else if (at_ - decided_to_try_ > much_text)
        free_ = std::max(free_, meeting_place());
      if (at_ - free_ > most_text) {
        free_ = at_;
        ++forced_cuts_;
        give_decided(out);
      }
    }
    if (free_ > 0) give_decided(out);
  }
  // Gives the pieces before free_, and forgets them.
  void give_decided(IdSink& out) {
    decide(free_, out);
    text_.erase(0, free_);
    best_.erase(best_.begin(), best_.begin() + static_cast<std::ptrdiff_t>(free_));
    for (Best& best : best_)
      if (best.from != nowhere) best.from = best.from >= free_ ? best.from - free_ : nowhere;
    at_ -= free_;
    furthest_ -= free_;
    free_ = decided_to_try_ = 0;
  }
  // The last place that all paths which may still be the best lead through.
  std::size_t meeting_place() {
    decided_to_try_ = at_;
    std::set<std::size_t> ends;
    for (std::size_t end = at_; end <= furthest_; ++end)
      if (best_[end].from != nowhere) ends.insert(end);
    while (ends.size() > 1) {
      const std::size_t last = *ends.rbegin();
      ends.erase(last);
      ends.insert(last > 0 ? best_[last].from : 0);
    }
    return *ends.begin();
  }

  // Gives the pieces of the best path up to `end`.
  void decide(std::size_t end, IdSink& out) {
    path_.clear();
    for (std::size_t at = end; at > 0; at = best_[at].from) path_.push_back(at);
    for (std::size_t from = 0; !path_.empty(); path_.pop_back()) {
      const std::size_t to = path_.back();
      put(best_[to].id, std::string_view(text_).substr(from, to - from), out);
      from = to;
    }
  }
  void put(std::int32_t id, std::string_view piece, IdSink& out) {
    if (id != model_->unknown || !model_->byte_fallback) return out.put(id, piece);
    for (const char byte : piece) out.put(model_->byte_ids[static_cast<unsigned char>(byte)], piece);
  }

  std::shared_ptr<const Tokenizer::Model> model_;
  float most_ = 0, unknown_score_ = 0;
  std::size_t longest_piece_ = 4;
  std::string text_;                               // what is not decided
  std::vector<Best> best_ = std::vector<Best>(1);  // of every place in it
  std::vector<std::size_t> path_;
  std::size_t at_ = 0, furthest_ = 0;  // pieces that begin before `at_` are offered; they end at `furthest_` at most
  std::int64_t forced_cuts_ = 0;
  std::size_t free_ = 0;            // all before it is decided
  std::size_t decided_to_try_ = 0;  // where `meeting_place` was asked last
};

}  // namespace

std::unique_ptr<PieceEncoder> make_unigram_encoder(std::shared_ptr<const Tokenizer::Model> model) {
  return std::make_unique<UnigramEncoder>(std::move(model));
}

}  // namespace bittern
