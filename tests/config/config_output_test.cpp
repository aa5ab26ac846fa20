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
       "weights.block_linear.rounding=stochastic", "optimizer.states.v=bf16", "optimizer.states.block_linear.m=de4",
       "optimizer.states.head.v_rounding=stochastic", "optimizer.betas=[0.1,0.30000000000000004]"},
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

TEST_CASE("config: what a changed key means: other tensors, another run, or a run that may go on") {
  const RunConfig before = parse_config("{}", "a.json");
  const auto verdict = [&](const std::vector<std::string>& settings, bool rates_stay = false) {
    return compare_configs(before, parse_config("{}", "b.json", settings), rates_stay);
  };
  const auto nothing = [](const ConfigChange& change) {
    return change.tensors.empty() && change.run.empty() && change.notice.empty();
  };
  using Lines = std::vector<std::string>;
  CHECK(nothing(verdict({})));
  const ConfigChange another = verdict({"schedule.lr=0.5", "run.seed=2", "optimizer.betas=[0.9,0.99]"});
  CHECK(another.run ==
        Lines{"run.seed: 1 -> 2", "schedule.lr: 0.001 -> 0.5", "optimizer.betas: [0.9,0.95] -> [0.9,0.99]"});
  CHECK(another.tensors.empty());
  // Without a first beta no first moment is kept: a fork finds that out from the plan, which it compares with the checkpoint's.
  CHECK(verdict({"optimizer.betas=[0,0.95]"}).run.size() == 1);
  CHECK(another.notice.empty());
  const ConfigChange notice = verdict({"train.checkpoint_every=7", "data.path=elsewhere"});
  CHECK(notice.run.empty());
  CHECK(notice.notice == Lines{"data.path: \"\" -> \"elsewhere\"", "train.checkpoint_every: 200 -> 7"});
  CHECK(nothing(
      verdict({"run.threads=3", "train.keep_checkpoints=9", "train.recompute=block", "train.snapshot=pieces"})));
  const ConfigChange weights = verdict({"weights.block_linear.codec=bf16"});
  CHECK(weights.tensors ==
        Lines{"weights.attention_linear.codec: \"f32\" -> \"bf16\"", "weights.mlp_linear.codec: \"f32\" -> \"bf16\""});
  const std::vector<std::string> bf16 = {"weights.head.codec=bf16"},
                                 rounded = {"weights.head.codec=bf16", "weights.head.rounding=stochastic"};
  CHECK(compare_configs(parse_config("{}", "a.json", bf16), parse_config("{}", "b.json", rounded), true).run ==
        Lines{"weights.head.rounding: \"nearest\" -> \"stochastic\""});
  for (const char* setting :
       {"model.intermediate_size=64", "model.tie_word_embeddings=true", "optimizer.rule=sgdm",
        "optimizer.states.m=bf16", "optimizer.states.norm.v=bf16", "optimizer.states.min_elements=0"}) {
    INFO(setting);
    CHECK(verdict({setting}).tensors.size() == 1);
  }
  CHECK(compare_configs(parse_config("{}", "a.json", std::vector<std::string>{"optimizer.states.m=de4"}),
                        parse_config("{}", "b.json",
                                     std::vector<std::string>{"optimizer.states.m=de4",
                                                              "optimizer.states.block_linear.m_rounding=stochastic"}),
                        true)
            .run == Lines{"optimizer.states.attention_linear.m_rounding: \"auto\" -> \"stochastic\"",
                          "optimizer.states.mlp_linear.m_rounding: \"auto\" -> \"stochastic\""});
  // What the rates follow from: the same run while those of the steps made stay.
  CHECK(verdict({"train.steps=2000", "schedule.shape=wsd"}, false).run.size() == 2);
  CHECK(verdict({"train.steps=2000", "schedule.shape=wsd"}, true).notice ==
        Lines{"train.steps: 1000 -> 2000", "schedule.shape: \"cosine\" -> \"wsd\""});
}

TEST_CASE("config: model.residual_init auto is what a new run takes, and what a run that goes on had") {
  const auto config = [](const char* value) {
    return parse_config("{}", "a.json", std::vector<std::string>{std::string("model.residual_init=") + value});
  };
  RunConfig fresh = config("auto");
  settle_residual_init(fresh, nullptr);
  CHECK(fresh.model.residual_init == residual_init_of_a_new_run);
  for (const char* had : {"plain", "scaled"}) {
    const RunConfig before = config(had);
    RunConfig after = config("auto");
    settle_residual_init(after, &before);
    CHECK(after.model.residual_init == before.model.residual_init);
    CHECK(compare_configs(before, after, true).run.empty());
  }
  CHECK(compare_configs(config("plain"), config("scaled"), true).run ==
        std::vector<std::string>{"model.residual_init: \"plain\" -> \"scaled\""});
}
