// The normaliser of SentencePiece (its normalizer.cc), for a text that is given in parts: the parts' results joined are
// the result of the whole. What must wait for more text is kept: a beginning of a rule, and spaces at the end.
//
// The table of rules ("charsmap"): u32 size of a trie in bytes, the trie (darts-clone units of 32 bits, a leaf's value is
// an offset into the texts), then NUL-ended texts. The longest rule at a place wins.
#include "data/normalizer.h"

#include <cstdint>
#include <cstring>

#include "base/utf8.h"
#include "bittern/error.h"

namespace bittern {
namespace {

// More rules than this never fit one place; the library has room for no more.
constexpr int most_rules = 32;

std::uint32_t word_at(std::string_view bytes, std::size_t index) {
  std::uint32_t word;
  std::memcpy(&word, bytes.data() + 4 * index, 4);
  return word;
}

std::size_t offset_of(std::uint32_t unit) {
  return static_cast<std::size_t>(unit >> 10) << ((unit & (1u << 9)) >> 6);
}
bool has_leaf(std::uint32_t unit) {
  return (unit >> 8) & 1;
}
std::uint32_t label_of(std::uint32_t unit) {
  return unit & ((1u << 31) | 0xFF);
}
constexpr std::uint32_t value_bits = 0x7FFFFFFF;

}  // namespace

// A walk goes from unit i to i ^ offset ^ (byte of the key), so every target within its block of 256 must exist, and
// the value of a leaf must lie inside the texts, at the beginning of a character.
bool charsmap_is_safe(std::string_view map) {
  if (map.empty()) return true;
  if (map.size() < 4) return false;
  const std::uint32_t trie_bytes = word_at(map, 0);
  map.remove_prefix(4);
  if (trie_bytes % 1024 != 0 || trie_bytes == 0 || trie_bytes >= map.size()) return false;
  const std::string_view texts = map.substr(trie_bytes);
  if (texts.back() != '\0' || utf8_valid_prefix(texts) != texts.size()) return false;
  const std::size_t units = trie_bytes / 4;
  for (std::size_t i = 0; i < units; ++i) {
    const std::uint32_t unit = word_at(map, i);
    // A leaf holds a value, and no byte of a key leads through it. Every walk goes through the root, so it is none.
    if (unit >> 31 && i > 0) continue;
    const std::size_t target = i ^ offset_of(unit);
    if ((target | 0xFF) >= units) return false;
    if (!has_leaf(unit)) continue;
    const std::size_t value = word_at(map, target) & value_bits;
    if (value >= texts.size() || (static_cast<unsigned char>(texts[value]) & 0xC0) == 0x80) return false;
  }
  return true;
}

// What the front of `input` becomes. `last`: no more text follows.
TextNormalizer::Rule TextNormalizer::next(std::string_view input, bool last) const {
  if (!model_.user_defined.empty()) {
    const auto match = model_.user_defined.longest(input);
    if (match.undecided && !last) return {.undecided = true};
    if (match.length > 0) return {input.substr(0, match.length), match.length};
  }
  const std::string_view map = model_.normalization.charsmap;
  if (!map.empty()) {
    const std::string_view trie = map.substr(4, word_at(map, 0)), texts = map.substr(4 + trie.size());
    std::size_t node = offset_of(word_at(trie, 0)), at = 0, length = 0, value = 0;
    int rules = 0;
    for (; at < input.size(); ++at) {
      const auto byte = static_cast<unsigned char>(input[at]);
      node ^= byte;
      const std::uint32_t unit = word_at(trie, node);
      if (label_of(unit) != byte) break;
      node ^= offset_of(unit);
      if (!has_leaf(unit)) continue;
      length = at + 1;
      value = word_at(trie, node) & value_bits;
      if (++rules > most_rules)
        throw input_error("{}: its normalisation table is damaged; get the .model file again", model_.name);
    }
    if (at == input.size() && !last) return {.undecided = true};
    if (length > 0) return {std::string_view(texts.data() + value), length};
  }
  const std::size_t character = utf8_character(input);
  if (character > 0) return {input.substr(0, character), character};
  return {replacement_character, 1};  // a rule ended inside a character
}

void TextNormalizer::run(bool last) {
  const Normalization& how = model_.normalization;
  std::string_view input = raw_;
  const auto add_space = [&] { made_ += how.escape_spaces ? space_symbol : " "; };
  while (!input.empty()) {
    const Rule rule = next(input, last);
    if (rule.undecided) break;
    if (at_start_ && how.squeeze_spaces && rule.to == " ") {  // before a text
      input.remove_prefix(rule.length);
      continue;
    }
    if (at_start_) {
      at_start_ = false;
      if (how.dummy_prefix && !how.space_is_suffix) add_space();
      after_space_ = how.squeeze_spaces;
    }
    std::string_view to = rule.to;
    while (after_space_ && to.starts_with(' ')) to.remove_prefix(1);
    for (const char c : to) {
      if (c == ' ')
        add_space();
      else
        made_ += c;
    }
    if (!to.empty()) after_space_ = to.ends_with(' ');
    if (!how.squeeze_spaces) after_space_ = false;
    input.remove_prefix(rule.length);
  }
  raw_.erase(0, raw_.size() - input.size());
}

void TextNormalizer::give(std::string& out) {
  const Normalization& how = model_.normalization;
  std::string_view sure = made_;
  const std::string_view space = how.escape_spaces ? space_symbol : " ";
  if (how.squeeze_spaces)
    while (sure.ends_with(space)) sure.remove_suffix(space.size());
  out += sure;
  made_.erase(0, sure.size());
}

void TextNormalizer::add(std::string_view part, std::string& out) {
  raw_ += part;
  run(false);
  give(out);
}

void TextNormalizer::end(std::string& out) {
  run(true);
  give(out);
  made_.clear();
  const Normalization& how = model_.normalization;
  if (!at_start_ && how.dummy_prefix && how.space_is_suffix) out += how.escape_spaces ? space_symbol : " ";
  at_start_ = true;
  after_space_ = false;
}

}  // namespace bittern
