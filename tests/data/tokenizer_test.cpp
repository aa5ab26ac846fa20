// Tokenizers: round trips, the cached encoder against SentencePiece itself, streaming, hostile files.
#include "bittern/tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <sstream>

#include "catch.h"
#include "data/data_test.h"
#include "data/text_lines.h"

using namespace bittern;
using namespace bittern_test;

namespace {

const std::string& text() {
  static const std::string made = prose(1, 200000);
  return made;
}

std::string trained() {
  static const std::string bytes = train_tokenizer({text()}, {.vocab_size = 600});
  return bytes;
}

// A model as other projects make them, through SentencePiece's own trainer.
std::string train_with(const std::string& options) {
  class Lines : public sentencepiece::SentenceIterator {
   public:
    Lines() : stream_(text()) { Next(); }
    bool done() const override { return done_; }
    void Next() override { done_ = !std::getline(stream_, line_); }
    const std::string& value() const override { return line_; }
    sentencepiece::util::Status status() const override { return {}; }

   private:
    std::istringstream stream_;
    std::string line_;
    bool done_ = false;
  } lines;
  std::string bytes;
  std::string all = "--minloglevel=3 --vocab_size=500 --hard_vocab_limit=false --byte_fallback=true " + options;
  const auto status = sentencepiece::SentencePieceTrainer::Train(all, &lines, &bytes);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  return bytes;
}

const char* const llama =
    "--model_type=bpe --normalization_rule_name=identity --remove_extra_whitespaces=false "
    "--allow_whitespace_only_pieces=true --split_digits=true --max_sentence_length=10000";
const char* const gemma =
    "--model_type=bpe --normalization_rule_name=identity --remove_extra_whitespaces=false "
    "--allow_whitespace_only_pieces=true --split_digits=true --add_dummy_prefix=false "
    "--pad_id=0 --eos_id=1 --bos_id=2 --unk_id=3 --max_sentence_length=10000";
const char* const t5 = "--model_type=unigram --bos_id=-1 --pad_id=0 --eos_id=1 --unk_id=2 --max_sentence_length=10000";

std::vector<std::int32_t> library_ids(const std::string& model, const std::string& of) {
  sentencepiece::SentencePieceProcessor processor;
  if (!processor.LoadFromSerializedProto(model).ok()) throw std::runtime_error("load");
  std::vector<int> ids;
  if (!processor.Encode(of, &ids).ok()) throw std::runtime_error("encode");
  return ids;
}

// Strings that break tokenizers.
std::vector<std::string> odd_texts() {
  std::vector<std::string> texts = {"",
                                    " ",
                                    "   ",
                                    "\n",
                                    "\n\n\n",
                                    " \n \n",
                                    "a",
                                    " a",
                                    "a ",
                                    "a  b",
                                    "  a\n\n  b  \n",
                                    "\ttab\t\ttab",
                                    "12345 67",
                                    "</s> <s> <unk> <0x0A>",
                                    "\xF0\x9F\x98\x80\xF0\x9F\x98\x80",
                                    "na\xC3\xAFve caf\xC3\xA9",
                                    "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E",
                                    std::string("nul\0inside", 10),
                                    "line\r\nline\r\n",
                                    "a.b,c;d",
                                    "MiXeD CaSe",
                                    std::string(300, 'x'),
                                    std::string(70, ' ') + "y"};
  Random random(5);
  const char* const alphabet[] = {" ",  " ",  "\n", "a", "t",        "the",          "ka",
                                  "to", "mi", ".",  "7", "\xC3\xA9", "\xE6\x97\xA5", "\xF0\x9F\x98\x80",
                                  "\t", "<",  "Z"};
  for (int i = 0; i < 300; ++i) {
    std::string made;
    for (std::uint32_t n = random.below(40); n > 0; --n) made += alphabet[random.below(std::size(alphabet))];
    texts.push_back(made);
  }
  return texts;
}

}  // namespace

TEST_CASE("tokenizer: a trained model has LLaMA's ids and the asked vocabulary") {
  const Tokenizer tokenizer = Tokenizer::from_bytes(trained(), "test");
  CHECK(tokenizer.vocab_size() == 600);
  CHECK(tokenizer.unknown() == 0);
  CHECK(tokenizer.bos() == 1);
  CHECK(tokenizer.eos() == 2);
  CHECK(tokenizer.piece(3 + 10) == "<0x0A>");
  CHECK(tokenizer.file_bytes() == trained());
}

TEST_CASE("tokenizer: training depends on the sample alone") {
  CHECK(train_tokenizer({text()}, {.vocab_size = 600}) == trained());
}

TEST_CASE("tokenizer: decode(encode(x)) == x, newlines and runs of spaces included") {
  for (const std::string& model : {trained(), train_with(llama), train_with(gemma)}) {
    const Tokenizer tokenizer = Tokenizer::from_bytes(model, "test");
    CHECK(tokenizer.decode(tokenizer.encode(text())) == text());
    for (const std::string& odd : odd_texts()) {
      INFO(odd);
      CHECK(tokenizer.decode(tokenizer.encode(odd)) == odd);
    }
  }
}

TEST_CASE("tokenizer: the cached word-by-word encoder gives SentencePiece's ids of the whole text") {
  const std::string piece = text().substr(0, 20000);
  for (const std::string& model : {trained(), train_with(llama), train_with(gemma)}) {
    const Tokenizer tokenizer = Tokenizer::from_bytes(model, "test");
    CHECK(tokenizer.encode(piece) == library_ids(model, piece));
    for (const std::string& odd : odd_texts()) {
      INFO(odd);
      CHECK(tokenizer.encode(odd) == library_ids(model, odd));
    }
    // U+2581 is how SentencePiece writes a space: text that has it comes back with spaces, and the ids agree.
    const std::string block = "a\xE2\x96\x81 b \xE2\x96\x81 c\xE2\x96\x81\xE2\x96\x81";
    CHECK(tokenizer.encode(block) == library_ids(model, block));
  }
}

TEST_CASE("tokenizer: a normalising model (T5) gives the ids of its own command line, and of the whole text") {
  const std::string model = train_with(t5);
  const Tokenizer tokenizer = Tokenizer::from_bytes(model, "t5");
  CHECK(tokenizer.bos() == -1);
  CHECK(tokenizer.eos() == 1);
  const std::string piece = text().substr(0, 5000);
  CHECK(tokenizer.encode(piece) == library_ids(model, piece));
  CHECK(tokenizer.decode(tokenizer.encode("Kato  mi\nre ")) == "Kato mi re");
}

TEST_CASE("tokenizer: pushing ids one at a time gives decode's text and never half a character") {
  const Tokenizer tokenizer = Tokenizer::from_bytes(trained(), "test");
  for (const std::string& odd : odd_texts()) {
    TokenDecoder decoder(tokenizer);
    std::string joined;
    for (const std::int32_t id : tokenizer.encode(odd)) {
      const std::string part = decoder.push(id);
      if (!part.empty()) CHECK((static_cast<unsigned char>(part[0]) & 0xC0) != 0x80);
      joined += part;
    }
    CHECK(joined + decoder.finish() == odd);
  }
}

TEST_CASE("tokenizer: bytes that form no character decode to U+FFFD, one each, as SentencePiece does") {
  const Tokenizer tokenizer = Tokenizer::from_bytes(trained(), "test");
  sentencepiece::SentencePieceProcessor processor;
  REQUIRE(processor.LoadFromSerializedProto(trained()).ok());
  Random random(9);
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::int32_t> ids;
    const unsigned char favourites[] = {0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80, 0xED,
                                        0xA0, 0xC3, 0xA9, 0xC0, 0xF4, 0x90, 'a',  '\n'};
    for (std::uint32_t n = random.below(8); n > 0; --n) ids.push_back(3 + favourites[random.below(16)]);
    std::string expected;
    REQUIRE(processor.Decode(ids, &expected).ok());
    CHECK(tokenizer.decode(ids) == expected);
  }
  const std::int32_t outside[] = {600};
  CHECK(contains(error_of([&] { tokenizer.decode(outside); }).second, "token id 600: outside the vocabulary"));
}

TEST_CASE("tokenizer: text that is not UTF-8 is encoded as U+FFFD") {
  const Tokenizer tokenizer = Tokenizer::from_bytes(trained(), "test");
  CHECK(tokenizer.decode(tokenizer.encode("a\xFF\xC3(b\xE2\x82")) ==
        "a\xEF\xBF\xBD\xEF\xBF\xBD(b\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST_CASE("tokenizer: lines end after their run of newlines; long ones are cut at a space, else between characters") {
  CHECK(line_length("a\nb") == 2);
  CHECK(line_length("a\n\n\nb") == 4);
  CHECK(line_length("ab") == 2);
  const std::string words = std::string(longest_line - 10, 'x') + " " + std::string(100, 'y');
  CHECK(line_length(words) == longest_line - 10);
  std::string wide;
  while (wide.size() < longest_line + 100) wide += "\xE6\x97\xA5";
  CHECK(line_length(wide) == longest_line / 3 * 3);
  CHECK(line_length(std::string(longest_line * 2, '\n')) == longest_line);
  const Tokenizer tokenizer = Tokenizer::from_bytes(trained(), "test");
  CHECK(tokenizer.decode(tokenizer.encode(wide + words)) == wide + words);
}

TEST_CASE("tokenizer: a vocabulary that the text cannot fill, or too small a one, says what is possible") {
  const auto large = error_of([] { train_tokenizer({"a few words, no more"}, {.vocab_size = 5000}); });
  CHECK(large.first == 2);
  CHECK(contains(large.second, "vocab size is 5000; expected at most "));
  const auto small = error_of([] { train_tokenizer({text()}, {.vocab_size = 270}); });
  CHECK(small.first == 2);
  CHECK(contains(small.second, "vocab size is 270; expected at least "));
  CHECK(contains(error_of([] { train_tokenizer({text()}, {.vocab_size = 100}); }).second, "expected 260 to"));
  CHECK(contains(error_of([] { train_tokenizer({"\n\t\n"}, {.vocab_size = 300}); }).second, "no text"));
}

TEST_CASE("tokenizer: missing, empty, foreign and cut files are refused by name") {
  const Folder folder;
  CHECK(contains(error_of([&] { Tokenizer::load(folder / "no.model"); }).second, "no.model: cannot open"));
  CHECK(contains(error_of([&] { Tokenizer::load(folder.write("empty.model", "")); }).second,
                 "empty.model: has no pieces"));
  const std::pair<std::string, std::string> others[] = {
      {"no model", "is not a SentencePiece model"},
      {"{\"version\": 1}", "is JSON, such as Hugging Face's tokenizer.json, which is not read"},
      {"IQ== 0\nIg== 1\n", "is a tiktoken list of tokens (Llama 3's tokenizer.model is one), which is not read"},
      {"#version: 0.2\n\xC4\xA0 t\n", "is a list of merges (merges.txt)"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "is a git-lfs pointer"},
      {"PK\x03\x04", "is a zip archive"}};
  for (const auto& [bytes, what] : others)
    CHECK(contains(error_of([&] { Tokenizer::load(folder.write("x.model", bytes)); }).second, "x.model: " + what));
  { File::create(folder / "huge.model").write_at(std::int64_t{1} << 27, as_bytes("x")); }  // sparse
  CHECK(contains(error_of([&] { Tokenizer::load(folder / "huge.model"); }).second,
                 "expected a tokenizer model of at most"));
  const std::string bytes = trained();
  for (std::size_t cut = 1; cut < bytes.size(); cut += 1 + bytes.size() / 200) {
    const auto [code, message] = error_of([&] { Tokenizer::from_bytes(bytes.substr(0, cut), "cut.model"); });
    if (code != 0) CHECK(contains(message, "cut.model: "));
  }
}

TEST_CASE("tokenizer: mutated model files load or are refused, and never crash") {
  const std::string models[] = {trained(), train_with(t5)};
  Random random(11);
  int loaded = 0;
  for (int i = 0; i < 400; ++i) {
    std::string bytes = models[i % 2];
    // Most of a file is pieces; the switches and the normaliser's table are at its end.
    const std::size_t from = random.below(2) ? 0 : bytes.size() - bytes.size() / 4;
    for (std::uint32_t n = 1 + random.below(4); n > 0; --n)
      bytes[from + random.below(bytes.size() - from)] = static_cast<char>(random.next());
    const auto [code, message] = error_of([&] {
      const Tokenizer tokenizer = Tokenizer::from_bytes(bytes, "mutant.model");
      tokenizer.decode(tokenizer.encode("Kato mire (\xE6\x97\xA5) \xEF\xBC\xA1 caf\xC3\xA9\n12"));
      ++loaded;
    });
    CHECK((code == 0 || code == 2 || code == 1));
    CHECK((code == 0 || contains(message, "mutant.model: ")));
  }
  CHECK(loaded > 0);
}
