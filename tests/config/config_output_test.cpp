// What the table says to others: the effective config, the schema, the reference page, the verdict on a resume.
#include <nlohmann/json.hpp>

#include "config/config_support.h"
#include "config/table.h"
#include "source_dir.h"

using namespace bittern;
using Catch::Matchers::Contains;
using nlohmann::json;

TEST_CASE("config: the effective config reads back to itself and names every key") {
  const std::vector<std::string> settings = GENERATE(values<std::vector<std::string>>({
      {},
      {"model.architecture=qwen2", "model.num_key_value_heads=2", "schedule.lr=0.1234567890123456789"},
      {"model.architecture=qwen3", "model.head_dim=32", "weights.block_linear.codec=bf16",
       "weights.block_linear.rounding=stochastic", "optimizer.states.v=bf16",
       "optimizer.betas=[0.1,0.30000000000000004]"},
      {"precision.compute=f32", "weights.head.codec=bf16", "weights.head.master=f32", "data.path=\"a\\u00e9\\n\\\"b\""},
  }));
  const std::string once = config_json(parse_config("{}", "a.json", settings));
  CHECK(config_json(parse_config(once, "once.json")) == once);
  const json root = json::parse(once);
  for (const config::Key& key : config::keys()) {
    std::string pointer = "/" + key.path;
    std::replace(pointer.begin(), pointer.end(), '.', '/');
    CAPTURE(key.path);
    CHECK(root.contains(json::json_pointer(pointer)) == !key.group);
  }
}

TEST_CASE("config: the committed configs are good and the reference page is the table's") {
  const std::string source = bittern::source_dir();
  for (const char* file : {"configs/quickstart.json", "configs/base/llama_5m.json", "configs/base/llama_30m.json"})
    CHECK(file_refusal(source + "/" + file) == "accepted");
  const ModelSpec small = load_config(source + "/configs/base/llama_5m.json").model;
  CHECK(small.num_hidden_layers == 4);
  CHECK(small.hidden_size == 256);
  CHECK(small.intermediate_size == 688);
  const ModelSpec large = load_config(source + "/configs/base/llama_30m.json").model;
  CHECK(large.num_attention_heads == 10);
  CHECK(large.head_dim == 64);
  // Else: bittern config --reference > docs/config_reference.md
  CHECK(read_text(source + "/docs/config_reference.md") == config_reference());
}

TEST_CASE("config: the schema has every key with its type, range and default") {
  const json schema = json::parse(config_schema());
  CHECK(schema["$schema"] == "https://json-schema.org/draft/2020-12/schema");
  CHECK(schema["additionalProperties"] == false);
  CHECK(schema["properties"]["model"]["anyOf"][0]["type"] == "string");
  for (const config::Key& key : config::keys()) {
    CAPTURE(key.path);
    json place = schema;
    for (std::size_t begin = 0; begin <= key.path.size();) {
      const std::size_t end = std::min(key.path.find('.', begin), key.path.size());
      if (place.contains("anyOf")) place = json(place["anyOf"][1]);
      REQUIRE(place["properties"].contains(key.path.substr(begin, end - begin)));
      place = json(place["properties"][key.path.substr(begin, end - begin)]);
      begin = end + 1;
    }
    CHECK(place["description"] == std::string(key.meaning));
    CHECK(place.contains("default") == (key.derived.empty() && !key.group));
  }
  CHECK(schema["properties"]["train"]["properties"]["steps"]["minimum"] == 1);
  CHECK(schema["properties"]["schedule"]["properties"]["lr"]["exclusiveMinimum"] == 0.0);
  CHECK(schema["properties"]["run"]["properties"]["device"]["enum"] == json({"auto", "cpu", "cuda"}));
}

TEST_CASE("config: every key has a meaning and its default is in its range") {
  for (const config::Key& key : config::keys()) {
    CAPTURE(key.path);
    CHECK_FALSE(key.meaning.empty());
    CHECK(key.meaning.back() == '.');
    CHECK_FALSE(expected(key).empty());
  }
}

TEST_CASE("config: a resume refuses keys that make another run and tells of keys that may change") {
  const RunConfig before = parse_config("{}", "a.json");
  const auto verdict = [&](const std::vector<std::string>& settings) {
    return compare_for_resume(before, parse_config("{}", "b.json", settings));
  };
  CHECK(verdict({}).refuse.empty());
  CHECK(verdict({}).notice.empty());
  const ConfigChange identity = verdict({"schedule.lr=0.5", "run.seed=2", "optimizer.betas=[0.9,0.99]"});
  CHECK(identity.refuse == std::vector<std::string>{"run.seed: 1 -> 2", "schedule.lr: 0.001 -> 0.5",
                                                    "optimizer.betas: [0.9,0.95] -> [0.9,0.99]"});
  CHECK(identity.notice.empty());
  const ConfigChange notice = verdict({"train.checkpoint_every=7", "data.path=elsewhere"});
  CHECK(notice.refuse.empty());
  CHECK(notice.notice ==
        std::vector<std::string>{"data.path: \"\" -> \"elsewhere\"", "train.checkpoint_every: 200 -> 7"});
  const ConfigChange silent = verdict({"run.threads=3", "train.keep_checkpoints=9", "train.recompute=block"});
  CHECK(silent.refuse.empty());
  CHECK(silent.notice.empty());
  const ConfigChange weights = verdict({"weights.block_linear.codec=bf16"});
  CHECK(weights.refuse == std::vector<std::string>{"weights.attention_linear.codec: \"f32\" -> \"bf16\"",
                                                   "weights.mlp_linear.codec: \"f32\" -> \"bf16\""});
}

TEST_CASE("config: more steps are the same run only where no rate depends on them") {
  const auto change = [](const std::vector<std::string>& settings) {
    std::vector<std::string> longer = settings;
    longer.push_back("train.steps=2000");
    return compare_for_resume(parse_config("{}", "a.json", settings), parse_config("{}", "b.json", longer));
  };
  CHECK(change({"schedule.shape=cosine"}).refuse == std::vector<std::string>{"train.steps: 1000 -> 2000"});
  CHECK(change({"schedule.shape=wsd"}).refuse.size() == 1);
  CHECK(change({"schedule.shape=constant", "schedule.warmup_fraction=0.1"}).refuse.size() == 1);
  CHECK(change({"schedule.shape=constant", "schedule.warmup_steps=10"}).refuse.empty());
  CHECK(change({"schedule.shape=constant"}).notice == std::vector<std::string>{"train.steps: 1000 -> 2000"});
}

TEST_CASE("config: model.residual_init auto is what a new run takes, and what a run that goes on had") {
  const auto config = [](const char* value) {
    return parse_config("{}", "a.json", std::vector<std::string>{std::string("model.residual_init=") + value});
  };
  RunConfig fresh = config("auto");
  settle_residual_init(fresh, nullptr);
  CHECK(fresh.model.residual_init == residual_init_of_a_new_run);
  for (const char* had : {"plain", "scaled"}) {
    RunConfig before = config(had), after = config("auto");
    settle_residual_init(after, &before);
    CHECK(after.model.residual_init == before.model.residual_init);
    CHECK(compare_for_resume(before, after).refuse.empty());
  }
  // A checkpoint of a program without the key.
  RunConfig older = parse_config("{}", "a.json"), after = config("auto"), other = config("scaled");
  settle_residual_init(after, &older);
  CHECK(older.model.residual_init == ResidualInit::plain);
  CHECK(after.model.residual_init == ResidualInit::plain);
  settle_residual_init(other, &older);
  CHECK(compare_for_resume(older, other).refuse ==
        std::vector<std::string>{"model.residual_init: \"plain\" -> \"scaled\""});
}
