// What transformers is told of a model's ids and its tokenizer.
#include "store/hf_config.h"

#include <nlohmann/json.hpp>

#include "catch.h"
#include "store/storage_support.h"

using namespace bittern;
using nlohmann::json;

namespace {

// Fields that are appended to a model file are merged into its normaliser's settings (3) and trainer's (2).
const std::string prefix("\x1A\x02\x18\x01", 4), squeeze("\x1A\x02\x20\x01", 4), suffix("\x12\x03\xC0\x01\x01", 5);
// Another piece (1): its text (1), and that the user defined it (3).
const std::string symbol("\x0A\x09\x0A\x05<sep>\x18\x04", 11);

const std::string& model_bytes() {
  static const std::string bytes =
      train_tokenizer({"the heron waits for the small fish, and the otter waits for the heron"}, {.vocab_size = 290});
  return bytes;
}

json told(const Tokenizer& tokenizer) {
  const auto files = tokenizer_files(tokenizer);
  REQUIRE(files.size() == 1);
  CHECK(files[0].name == "tokenizer_config.json");
  return json::parse(files[0].bytes);
}

}  // namespace

TEST_CASE("hf_config: a tokenizer is told with its prefix space; what cannot be told is warned of by name") {
  const Tokenizer plain = Tokenizer::from_bytes(model_bytes(), "plain");
  CHECK(told(plain).at("add_prefix_space") == false);
  CHECK(told(plain).at("eos_token") == "</s>");
  CHECK_FALSE(told(plain).contains("pad_token"));
  CHECK(warning_of_transformers(plain).empty());

  const Tokenizer prefixed = Tokenizer::from_bytes(model_bytes() + prefix, "prefixed");
  CHECK(told(prefixed).at("add_prefix_space") == true);
  CHECK(warning_of_transformers(prefixed).empty());

  const auto warning = [](const std::string& fields) {
    return warning_of_transformers(Tokenizer::from_bytes(model_bytes() + fields, "odd"));
  };
  CHECK(warning(squeeze).find("of the kind bpe and changes text: runs of spaces become one;") != std::string::npos);
  CHECK(warning(prefix + suffix).find("a space is put behind a text") != std::string::npos);
  CHECK(warning(symbol).find("of the kind bpe with user-defined pieces;") != std::string::npos);
}

TEST_CASE("hf_config: the ids of the beginning, the ends and the padding of a text are written as they were read") {
  const ModelSpec spec;
  const auto written = [&](const SpecialIds& ids) { return json::parse(hf_config_json(spec, WeightsSection{}, ids)); };
  const json none = written({});
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) CHECK_FALSE(none.contains(key));
  const json one = written({.bos = 1, .eos = {2}, .pad = 0});
  CHECK(one.at("bos_token_id") == 1);
  CHECK(one.at("eos_token_id") == 2);
  CHECK(one.at("pad_token_id") == 0);
  CHECK(written({.bos = 1, .eos = {128001, 128009}}).at("eos_token_id") == json::array({128001, 128009}));
  const std::optional<Tokenizer> tokenizer = Tokenizer::from_bytes(model_bytes(), "plain");
  CHECK(special_ids(tokenizer).bos == 2);
  CHECK(special_ids(tokenizer).eos == std::vector<std::int64_t>{2});
  CHECK(special_ids(std::nullopt).eos.empty());
}
