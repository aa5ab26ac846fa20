// The ids of a text in parts are the tokenizer library's own ids of the whole, for every kind of SentencePiece model; a
// table of a normaliser that leads out of itself is refused.
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <unordered_map>

#include "bittern/prepare.h"
#include "bittern/token_file.h"
#include "bittern/tokenizer.h"
#include "catch.h"
#include "data/data_test.h"
#include "data/normalizer.h"
#include "sanitized.h"

using namespace bittern;
using namespace bittern_test;

namespace {

using Options = std::unordered_map<std::string, std::string>;

class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::string& text) : stream_(text) { Next(); }
  bool done() const override { return done_; }
  void Next() override { done_ = !std::getline(stream_, line_); }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::istringstream stream_;
  std::string line_;
  bool done_ = false;
};

std::string train(Options options) {
  static const std::string text =
      prose(21, 30000) + "\xEF\xBC\xA1\xEF\xBC\xA2 fi\xEF\xAC\x81 \xE6\x97\xA5\xE6\x9C\xAC\n";
  Lines lines(text);
  options.merge(Options{{"vocab_size", "420"},
                        {"hard_vocab_limit", "false"},
                        {"minloglevel", "3"},
                        {"num_threads", "1"},
                        {"max_sentence_length", "100000"}});
  std::string bytes;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &lines, &bytes);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  return bytes;
}

// Nothing where the library itself gives up: a word model at a word that is spelled like a control piece, "<s>".
std::optional<std::vector<std::int32_t>> library_ids(const std::string& model, const std::string& of) {
  sentencepiece::SentencePieceProcessor processor;
  if (!processor.LoadFromSerializedProto(model).ok()) throw std::runtime_error("load");
  std::vector<int> ids;
  if (!processor.Encode(of, &ids).ok()) return std::nullopt;
  return ids;
}

// Text of what lies at the borders: spaces and newlines of all kinds, the marks of pieces, characters that a normaliser
// changes or joins, characters that no piece has, and words.
std::string biased_text(Random& random, std::size_t pieces) {
  static const char* const alphabet[] = {" ",
                                         " ",
                                         "  ",
                                         "\n",
                                         "\n\n",
                                         "\t",
                                         "\r\n",
                                         "\xE2\x96\x81",
                                         "\xC2\xA0",
                                         "\xE3\x80\x80",
                                         "a",
                                         "ka",
                                         "to",
                                         "mire",
                                         " sun",
                                         "dal ",
                                         ".",
                                         ", ",
                                         "7",
                                         "12",
                                         "caf\xC3\xA9",
                                         "e\xCC\x81",
                                         "\xEF\xBC\xA1",
                                         "\xEF\xAC\x81",
                                         "\xE2\x85\xA3",
                                         "\xE6\x97\xA5",
                                         "\xE6\x9C\xAC",
                                         "\xF0\x9F\x98\x80",
                                         "<tag>",
                                         "<t",
                                         "ag>",
                                         "a b",
                                         "\n#",
                                         "#",
                                         "qzx",
                                         "\xD0\x96",
                                         "<s>",
                                         "\xEF\xBF\xBD"};
  std::string text;
  while (pieces-- > 0) text += alphabet[random.below(std::size(alphabet))];
  return text;
}

// Cut between characters, often into single ones.
std::vector<std::int32_t> ids_in_parts(const Tokenizer& tokenizer, const std::string& text, Random& random) {
  TextEncoder encoder(tokenizer);
  std::vector<std::int32_t> ids;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.size(), at + 1 + random.below(1 + random.below(40)));
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    encoder.add(std::string_view(text).substr(at, end - at), ids);
    at = end;
  }
  encoder.end(ids);
  return ids;
}

struct Case {
  std::string name;
  std::string model;
};

constexpr int models = sanitized ? 12 : 48;

// All kinds of model, the other options drawn for each: among 48 every option meets every kind.
const std::vector<Case>& cases() {
  static const std::vector<Case> made = [] {
    std::vector<Case> all;
    Random random(31);
    for (int i = 0; i < models; ++i) {
      const char* const types[] = {"unigram", "bpe", "unigram", "bpe", "word", "char"};
      const char* const rules[] = {"identity", "nmt_nfkc", "nfkc_cf"};
      const auto flip = [&] { return std::string(random.below(2) ? "true" : "false"); };
      Options options = {{"model_type", types[i % 6]},
                         {"normalization_rule_name", rules[random.below(3)]},
                         {"remove_extra_whitespaces", flip()},
                         {"add_dummy_prefix", flip()},
                         {"byte_fallback", i % 6 < 4 ? flip() : "false"},
                         {"treat_whitespace_as_suffix", random.below(4) == 0 ? "true" : "false"},
                         {"split_by_whitespace", i % 6 < 4 && random.below(3) == 0 ? "false" : "true"},
                         {"split_digits", flip()},
                         {"allow_whitespace_only_pieces", flip()}};
      if (random.below(2)) options["user_defined_symbols"] = "<tag>,a b,\n#,\n\n";
      Case one;
      for (const auto& [key, value] : options) one.name += key + "=" + value + " ";
      one.model = train(options);
      all.push_back(std::move(one));
    }
    return all;
  }();
  return made;
}

}  // namespace

TEST_CASE("text encoder: the ids of a text in parts are SentencePiece's of the whole, for every kind of model") {
  Random random(7);
  int compared = 0, unknown = 0;
  for (const Case& one : cases()) {
    INFO(one.name);
    const Tokenizer tokenizer = Tokenizer::from_bytes(one.model, "test");
    std::vector<std::string> texts = {"",   " ",  "\n",    "  \n ",    "\xE2\x96\x81", "a",
                                      "a ", " a", "<tag>", "qzx\nqzx", "\n\n\n"};
    for (int i = 0; i < 40; ++i) texts.push_back(biased_text(random, random.below(60)));
    texts.push_back(biased_text(random, 1500) + prose(5, 3000));
    for (const std::string& text : texts) {
      INFO(text);
      const auto expected = library_ids(one.model, text);
      if (!expected) {
        CHECK(error_of([&] { tokenizer.encode(text); }).first == 1);
        continue;
      }
      CHECK(tokenizer.encode(text) == *expected);
      CHECK(ids_in_parts(tokenizer, text, random) == *expected);
      unknown += !tokenizer.byte_fallback() && std::count(expected->begin(), expected->end(), tokenizer.unknown()) > 0;
      ++compared;
    }
  }
  CHECK(compared > 47 * models);
  CHECK(unknown > models);
}

TEST_CASE("text encoder: the sums of a unigram model go on through a long text as SentencePiece's do") {
  // Where scores are added up over thousands of pieces, float sums round so much that near ties turn over.
  Random random(8);
  for (const char* split : {"true", "false"}) {
    const std::string model =
        train({{"model_type", "unigram"}, {"byte_fallback", "true"}, {"split_by_whitespace", split}});
    const Tokenizer tokenizer = Tokenizer::from_bytes(model, "test");
    std::string text;
    while (text.size() < 400000) text += prose(random.next(), 2000) + biased_text(random, 100);
    const std::vector<std::int32_t> expected = library_ids(model, text).value();
    CHECK(tokenizer.encode(text) == expected);
    CHECK(ids_in_parts(tokenizer, text, random) == expected);
    // A text in which pieces overlap everywhere: the paths are followed back to where they meet.
    std::string same(150000, 'a');
    for (std::size_t i = 0; i < same.size(); i += 1 + random.below(9)) same[i] = "kto"[random.below(3)];
    CHECK(ids_in_parts(tokenizer, same, random) == library_ids(model, same).value());
  }
}

TEST_CASE("text encoder: prepare's ids are SentencePiece's of the whole document, wherever blocks end") {
  const Folder folder;
  Random random(9);
  // Longer than two blocks; lines, a line of more than a block, and a run of newlines over a border.
  std::string text = biased_text(random, 40000);
  for (std::size_t at; (at = text.find("<s>")) != std::string::npos;) text.erase(at, 3);  // see library_ids
  text += prose(6, 60000);
  for (int i = 0; i < 60000; ++i) text += random.below(7) ? "\xE6\x97\xA5" : "\xE6\x9C\xAC";
  text += std::string(140000, '\n') + prose(7, 20000);
  const std::string input = folder.write("a.txt", text);
  for (std::size_t i = 0; i < cases().size(); i += 1 + i % 3) {
    INFO(cases()[i].name);
    const std::string& model = cases()[i].model;
    prepare({.inputs = {input},
             .out = folder / "out",
             .tokenizer = folder.write("m.model", model),
             .valid_fraction = 0,
             .threads = 2,
             .overwrite = true,
             .block_bytes = 1});
    const TokenStream stream = TokenStream::open(folder / "out");
    std::vector<std::int32_t> ids(static_cast<std::size_t>(stream.token_count()));
    stream.read(0, ids);
    std::vector<std::int32_t> expected = library_ids(model, text).value();
    expected.push_back(stream.eos());
    CHECK(ids == expected);
  }
}

TEST_CASE("text encoder: where a text could be merged everywhere for more than a MiB it is cut, and that is counted") {
  const Tokenizer tokenizer = Tokenizer::from_bytes(train_tokenizer({prose(1, 50000)}, {.vocab_size = 400}), "test");
  TextEncoder encoder(tokenizer);
  std::vector<std::int32_t> ids;
  std::string letters;
  Random random(10);
  while (letters.size() < (std::size_t{5} << 19)) letters += static_cast<char>('a' + random.below(26));
  for (std::size_t at = 0; at < letters.size(); at += 100000)
    encoder.add(std::string_view(letters).substr(at, 100000), ids);
  encoder.end(ids);
  CHECK(encoder.forced_cuts() == 2);
  CHECK(tokenizer.decode(ids) == letters);
}

TEST_CASE(
    "text encoder: a unigram model whose paths meet nowhere is cut after a MiB, in bounded time, and it is counted") {
  // In abababab ... the paths ab|ab|ab and a|ba|ba never meet.
  const Tokenizer tokenizer = Tokenizer::from_bytes(
      train({{"model_type", "unigram"}, {"byte_fallback", "true"}, {"user_defined_symbols", "ab,ba"}}), "test");
  std::string text;
  while (text.size() < (std::size_t{5} << 19)) text += "ab";
  for (const std::size_t part : {std::size_t{100000}, text.size()}) {
    if (sanitized && part == text.size()) break;  // a second each, and no line of code that the first does not run
    TextEncoder encoder(tokenizer);
    std::vector<std::int32_t> ids;
    for (std::size_t at = 0; at < text.size(); at += part) encoder.add(std::string_view(text).substr(at, part), ids);
    encoder.end(ids);
    CHECK(encoder.forced_cuts() >= 1);
    CHECK(ids.size() < text.size() / 2 + 8);
    CHECK(tokenizer.decode(ids) == text);
  }
}

TEST_CASE("text encoder: a normaliser's table whose root leads out of it is refused") {
  // Its size, 256 units that lead to the first one, and one empty text.
  std::string table("\x00\x04\x00\x00", 4);
  table.resize(4 + 1024 + 1);
  CHECK(charsmap_is_safe(table));
  for (const char root :
       {'\x40', '\xC0'}) {  // far away; the same marked as a leaf, which no byte leads to but every walk
    table[7] = root;
    CHECK_FALSE(charsmap_is_safe(table));
  }
  table[7] = 0;
  table[11] = '\xC0';  // another unit may be a leaf
  CHECK(charsmap_is_safe(table));
}
