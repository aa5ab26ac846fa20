// Text that a tokenizer has no piece for: counted, and shown.
#include <sentencepiece_trainer.h>

#include "bittern/prepare.h"
#include "catch.h"
#include "data/prepare_support.h"

using namespace bittern;
using namespace bittern_test;

namespace {

std::string model_without_bytes() {
  class Words : public sentencepiece::SentenceIterator {
   public:
    bool done() const override { return at_ == 300; }
    void Next() override { ++at_; }
    const std::string& value() const override { return line_; }
    sentencepiece::util::Status status() const override { return {}; }

   private:
    int at_ = 0;
    std::string line_ = "the heron waits for small fish in the evening";
  } words;
  std::string bytes;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      "--model_type=unigram --vocab_size=60 --hard_vocab_limit=false --minloglevel=3", &words, &bytes);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  return bytes;
}

}  // namespace

TEST_CASE("prepare: text that becomes <unk> is counted, and said with an example") {
  const Folder folder;
  const std::string model = folder.write("u.model", model_without_bytes());
  std::string lines;
  for (int i = 0; i < 50; ++i)
    lines += "{\"text\": \"the heron\"}\n{\"text\": \"the \xE6\x97\xA5\xE6\x9C\xAC fish 7\"}\n";
  const Prepared prepared =
      prepare_text(folder, {folder.write("a.jsonl", lines)}, {.tokenizer = model, .valid_fraction = 0, .threads = 2});
  CHECK(prepared.summary.unknown_tokens == 100);  // a run of unknown characters is one
  REQUIRE(prepared.summary.warnings.size() == 1);
  CHECK(contains(prepared.summary.warnings[0],
                 "100 of " + std::to_string(prepared.summary.train_tokens) + " tokens are <unk>"));
  CHECK(contains(prepared.summary.warnings[0], "(the first: \"\xE6\x97\xA5\")"));
  CHECK(contains(read(folder / "out/data.json"), "\"unknown_tokens\": 100"));
  CHECK(contains(read(folder / "out/data.json"), "\"kind\": \"unigram\""));

  const Prepared known = prepare_text(folder, {folder.write("b.jsonl", "{\"text\": \"the heron\"}\n")},
                                      {.tokenizer = model, .valid_fraction = 0});
  CHECK(known.summary.unknown_tokens == 0);
  CHECK(known.summary.warnings.empty());
}
