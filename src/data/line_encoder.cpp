// Text -> ids, line by line.
//
// A byte-pair model merges inside words only: between two characters that stand side by side in no piece no merge can
// happen, so what lies left and right of such a place is encoded independently. `joins` (tokenizer_model.h) knows those
// places. So a word is encoded by SentencePiece once and then found in a table: natural text is mostly words seen
// before.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "bittern/error.h"
#include "data/tokenizer_model.h"
#include "data/utf8.h"

namespace bittern {

std::size_t line_length(std::string_view text) {
  const std::size_t newline = text.substr(0, longest_line).find('\n');
  if (newline != std::string_view::npos) {
    std::size_t end = newline + 1;
    while (end < text.size() && end < longest_line && text[end] == '\n') ++end;
    return end;
  }
  if (text.size() <= longest_line) return text.size();
  const std::size_t space = text.rfind(' ', longest_line);
  if (space != std::string_view::npos && space > 0) return space;  // the space begins the next line
  std::size_t end = longest_line;
  for (int back = 0; back < 3 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80; ++back) --end;
  return end;
}

// Open addressing; emptied when three quarters full, so memory is bounded: about 2 MiB of slots and 6 MiB of contents.
struct LineEncoder::Cache {
  static constexpr std::size_t slots = 1 << 16;
  static constexpr std::size_t longest_word = 48;
  struct Slot {
    std::uint64_t hash;
    std::uint32_t text, ids;  // where they begin in `texts` and `all_ids`
    std::uint16_t text_size, id_count;
  };

  Cache() : table(slots) { clear(); }
  void clear() {
    std::fill(table.begin(), table.end(), Slot{});
    texts.clear();
    all_ids.clear();
    used = 0;
  }

  std::vector<Slot> table;
  std::string texts;
  std::vector<std::int32_t> all_ids;
  std::size_t used = 0;
  std::vector<int> scratch;
  std::string prefixed;
};

namespace {

void encode_piece(const Tokenizer::Model& model, std::string_view text, std::vector<int>& ids) {
  const auto status = model.processor.Encode({text.data(), text.size()}, &ids);
  if (!status.ok()) throw failure("{}: SentencePiece cannot encode a text: {}", model.name, status.ToString());
}

// The length of the first word of `text`: up to the first two neighbours that no piece joins.
std::size_t word_length(const Tokenizer::Model& model, std::string_view text) {
  const CharAt first = char_at(text);
  std::size_t at = first.length;
  auto before = static_cast<std::size_t>(first.cls);
  while (at < text.size()) {
    const CharAt here = char_at(text.substr(at));
    if (!model.joins[before][static_cast<std::size_t>(here.cls)]) break;
    before = static_cast<std::size_t>(here.cls);
    at += here.length;
  }
  return at;
}

}  // namespace

LineEncoder::LineEncoder(const Tokenizer& tokenizer) : model_(tokenizer.model_), cache_(std::make_unique<Cache>()) {}
LineEncoder::LineEncoder(LineEncoder&&) noexcept = default;
LineEncoder::~LineEncoder() = default;

void LineEncoder::encode(std::string_view line, bool first, std::vector<std::int32_t>& out) {
  Cache& cache = *cache_;
  if (line.empty()) return;
  if (!model_->verbatim) {
    encode_piece(*model_, line, cache.scratch);
    out.insert(out.end(), cache.scratch.begin(), cache.scratch.end());
    return;
  }
  if (first && model_->dummy_prefix) {
    cache.prefixed.assign(1, ' ').append(line);
    line = cache.prefixed;
  }
  while (!line.empty()) {
    const std::string_view word = line.substr(0, word_length(*model_, line));
    line.remove_prefix(word.size());
    if (word.size() > Cache::longest_word) {
      encode_piece(*model_, word, cache.scratch);
      out.insert(out.end(), cache.scratch.begin(), cache.scratch.end());
      continue;
    }
    const std::uint64_t hash = XXH3_64bits(word.data(), word.size());
    std::size_t at = hash % Cache::slots;
    while (true) {
      const Cache::Slot& slot = cache.table[at];
      if (slot.text_size == 0) break;
      if (slot.hash == hash && slot.text_size == word.size() &&
          std::memcmp(cache.texts.data() + slot.text, word.data(), word.size()) == 0)
        break;
      at = (at + 1) % Cache::slots;
    }
    if (cache.table[at].text_size == 0) {
      encode_piece(*model_, word, cache.scratch);
      if (cache.used >= Cache::slots / 4 * 3) {
        cache.clear();
        at = hash % Cache::slots;
      }
      cache.table[at] = {hash, static_cast<std::uint32_t>(cache.texts.size()),
                         static_cast<std::uint32_t>(cache.all_ids.size()), static_cast<std::uint16_t>(word.size()),
                         static_cast<std::uint16_t>(cache.scratch.size())};
      cache.texts.append(word);
      cache.all_ids.insert(cache.all_ids.end(), cache.scratch.begin(), cache.scratch.end());
      ++cache.used;
    }
    const Cache::Slot& slot = cache.table[at];
    const auto begin = cache.all_ids.begin() + slot.ids;
    out.insert(out.end(), begin, begin + slot.id_count);
  }
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  std::string repaired;
  if (utf8_valid_prefix(text) != text.size()) {
    utf8_repair(text, repaired);
    text = repaired;
  }
  LineEncoder encoder(*this);
  std::vector<std::int32_t> ids;
  for (bool first = true; !text.empty(); first = false) {
    const std::size_t length = line_length(text);
    encoder.encode(text.substr(0, length), first, ids);
    text.remove_prefix(length);
  }
  return ids;
}

}  // namespace bittern
