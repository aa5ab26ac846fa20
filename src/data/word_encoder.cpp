// Byte-pair, word and character models: text -> words -> ids.
//
// A byte-pair model merges inside words only: between two characters that stand side by side in no piece no merge can
// happen, so what lies left and right of such a place is encoded independently. `joins` (tokenizer_model.h) knows those
// places. So a word is encoded by SentencePiece once and then found in a table: natural text is mostly words seen
// before.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "bittern/error.h"
#include "data/piece_encoder.h"

namespace bittern {
namespace {

// A word that is longer is cut: SentencePiece takes some 300 bytes for each of its bytes.
constexpr std::size_t longest_word = std::size_t{1} << 20;

// The ids of words. Open addressing; emptied when three quarters full, so memory is bounded: about 2 MiB of slots and
// 6 MiB of contents.
class WordCache {
 public:
  static constexpr std::size_t longest_cached = 48;

  WordCache() : table_(slots) { clear(); }

  /// The ids of `word`; `encode(word, ids)` finds out those that are not here.
  template <typename Encode>
  std::span<const std::int32_t> ids(std::string_view word, Encode encode) {
    const std::uint64_t hash = XXH3_64bits(word.data(), word.size());
    std::size_t at = hash % slots;
    while (true) {
      const Slot& slot = table_[at];
      if (slot.text_size == 0) break;
      if (slot.hash == hash && slot.text_size == word.size() &&
          std::memcmp(texts_.data() + slot.text, word.data(), word.size()) == 0)
        break;
      at = (at + 1) % slots;
    }
    if (table_[at].text_size == 0) {
      encode(word, scratch_);
      if (used_ >= slots / 4 * 3) {
        clear();
        at = hash % slots;
      }
      table_[at] = {hash, static_cast<std::uint32_t>(texts_.size()), static_cast<std::uint32_t>(ids_.size()),
                    static_cast<std::uint16_t>(word.size()), static_cast<std::uint16_t>(scratch_.size())};
      texts_.append(word);
      ids_.insert(ids_.end(), scratch_.begin(), scratch_.end());
      ++used_;
    }
    return std::span(ids_).subspan(table_[at].ids, table_[at].id_count);
  }

 private:
  static constexpr std::size_t slots = 1 << 16;
  struct Slot {
    std::uint64_t hash;
    std::uint32_t text, ids;  // where they begin in `texts_` and `ids_`
    std::uint16_t text_size, id_count;
  };
  void clear() {
    std::fill(table_.begin(), table_.end(), Slot{});
    texts_.clear();
    ids_.clear();
    used_ = 0;
  }

  std::vector<Slot> table_;
  std::string texts_;
  std::vector<std::int32_t> ids_;
  std::vector<int> scratch_;
  std::size_t used_ = 0;
};

class WordEncoder final : public PieceEncoder {
 public:
  explicit WordEncoder(std::shared_ptr<const Tokenizer::Model> model) : model_(std::move(model)) {}

  void add(std::string_view text, IdSink& out) override {
    if (!held_.empty()) {
      held_ += text;
      text = held_;
    }
    while (!text.empty()) {
      const Word word = first_word(text);
      if (!word.ends) break;
      put(text.substr(0, word.length), out);
      text.remove_prefix(word.length);
    }
    std::string rest(text);
    held_ = std::move(rest);
  }
  void end(IdSink& out) override {
    if (!held_.empty()) put(held_, out);
    held_.clear();
  }
  std::int64_t forced_cuts() const override { return forced_cuts_; }

 private:
  struct Word {
    std::size_t length;
    bool ends;  // for sure: more text would not make it longer
  };
  // Up to the first two neighbours that no piece joins.
  Word first_word(std::string_view text) {
    CharAt before = char_at(text);
    std::size_t at = before.length, begin = 0;
    while (at < text.size()) {
      const std::string_view rest = text.substr(at);
      const CharAt here = char_at(rest);
      if (!model_->joins(before.cls, text.substr(begin, before.length), here.cls, rest.substr(0, here.length)))
        return {at, true};
      if (at + here.length > longest_word) {
        ++forced_cuts_;
        return {at, true};
      }
      begin = at;
      before = here;
      at += here.length;
    }
    return {at, false};
  }
  void put(std::string_view word, IdSink& out) {
    const auto encode = [&](std::string_view text, std::vector<int>& ids) {
      const auto status = model_->processor.Encode({text.data(), text.size()}, &ids);
      if (!status.ok()) throw failure("{}: SentencePiece cannot encode a text: {}", model_->name, status.ToString());
    };
    if (word.size() <= WordCache::longest_cached) {
      for (const std::int32_t id : cache_.ids(word, encode)) out.put(id, word);
      return;
    }
    encode(word, long_ids_);
    for (const std::int32_t id : long_ids_) out.put(id, word);
  }

  std::shared_ptr<const Tokenizer::Model> model_;
  WordCache cache_;
  std::string held_;  // the last word, which may go on
  std::vector<int> long_ids_;
  std::int64_t forced_cuts_ = 0;
};

}  // namespace

std::unique_ptr<PieceEncoder> make_word_encoder(std::shared_ptr<const Tokenizer::Model> model) {
  return std::make_unique<WordEncoder>(std::move(model));
}

}  // namespace bittern
