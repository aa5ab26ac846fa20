// trainer.json: what is written is read, and whatever else it holds is refused in a sentence.
#include "store/training_state.h"

#include <nlohmann/json.hpp>

#include "catch.h"
#include "store/storage_support.h"

using namespace bittern;
using namespace bittern::storage_test;

namespace {

std::string good_text() {
  return trainer_json({.step = 12,
                       .update = 11,
                       .tokens = 1152,
                       .skipped_steps = 1,
                       .skipped_in_a_row = 0,
                       .means = {.loss = 0.1, .loss_square = 1e-300, .norm = 3, .norm_square = 1.0 / 3, .steps = 11}},
                      {.backend = "cpu avx2", .data_fingerprint = "0123456789abcdef"}, parse_config("{}", "test"));
}

Thrown refusal(const std::string& text) {
  return error_of([&] { parse_trainer_json(text, "step_12/trainer.json"); });
}

}  // namespace

TEST_CASE("trainer state: what is written is read") {
  const TrainerRecord record = parse_trainer_json(good_text(), "trainer.json");
  CHECK(record.state.step == 12);
  CHECK(record.state.update == 11);
  CHECK(record.state.tokens == 1152);
  CHECK(record.state.skipped_steps == 1);
  CHECK(record.state.skipped_in_a_row == 0);
  CHECK(record.state.means ==
        RunningMeans{.loss = 0.1, .loss_square = 1e-300, .norm = 3, .norm_square = 1.0 / 3, .steps = 11});
  CHECK(record.identity == RunIdentity{.backend = "cpu avx2", .data_fingerprint = "0123456789abcdef"});
  CHECK(config_json(parse_config(record.config_json, "trainer.json")) == config_json(parse_config("{}", "test")));
}

TEST_CASE("trainer state: an older program wrote no running means: they begin anew") {
  nlohmann::json json = nlohmann::json::parse(good_text());
  json.erase("running_means");
  CHECK(parse_trainer_json(json.dump(), "trainer.json").state.means == RunningMeans{});
}

TEST_CASE("trainer state: the config is migrated from its version; a newer one is refused") {
  nlohmann::json json = nlohmann::json::parse(good_text());
  CHECK(json["config_version"] == config_version);
  json["config_version"] = config_version + 1;
  CHECK_THAT(refusal(json.dump()).text, Catch::Contains("was written by a newer bittern"));
  json.erase("config_version");
  json["config"]["model"].erase("residual_init");
  const TrainerRecord older = parse_trainer_json(json.dump(), "trainer.json");
  CHECK(parse_config(older.config_json, "trainer.json").model.residual_init == ResidualInit::plain);
}

TEST_CASE("trainer state: what is missing or wrong is named") {
  const auto with = [](const std::string& key, const nlohmann::json& value) {
    nlohmann::json json = nlohmann::json::parse(good_text());
    json[key] = value;
    return json.dump();
  };
  const auto without = [](const std::string& key) {
    nlohmann::json json = nlohmann::json::parse(good_text());
    json.erase(key);
    return json.dump();
  };
  std::vector<std::pair<std::string, std::string>> cases = {
      {"", "trainer.json is not valid JSON"},
      {"{\"version\":1,\"version\":1}", "has the key \"version\" twice"},
      {"[1]", "trainer.json: not a JSON object; the checkpoint is damaged, use another one"},
      {with("version", 2), "version 2 was written by another version of bittern; this one reads version 1"},
      {with("config", "x"), "\"config\" must be an object; the checkpoint is damaged"},
      {without("config"), "\"config\" must be an object"},
      {with("step", std::uint64_t{1} << 63), "\"step\" must be a whole number of at least 0"},
      {with("running_means", 3), "\"running_means\" must be an object; the checkpoint is damaged"},
      {with("running_means", {{"steps", 1}}), "\"running_means\": \"loss\" must be a finite number"}};
  for (const char* key : {"version", "step", "update", "tokens", "skipped_steps", "skipped_in_a_row"})
    for (const std::string& text : {without(key), with(key, -1), with(key, 1.5), with(key, "1"), with(key, nullptr)})
      cases.emplace_back(text, "\"" + std::string(key) + "\" must be a whole number of at least 0; the checkpoint is");
  for (const char* key : {"backend", "data_fingerprint"})
    for (const std::string& text : {without(key), with(key, 1), with(key, nullptr)})
      cases.emplace_back(text, "\"" + std::string(key) + "\" must be a string; the checkpoint is damaged");
  for (const auto& [text, message] : cases) {
    INFO(text.substr(0, 200));
    const Thrown thrown = refusal(text);
    CHECK(thrown.code == ExitCode::bad_input);
    CHECK(contains(thrown.text, "step_12/trainer.json"));
    CHECK(contains(thrown.text, message));
  }
}

TEST_CASE("trainer state: depth overflows no stack") {
  for (const std::string& open : {std::string("["), std::string("{\"a\":")}) {
    std::string deep;
    for (int i = 0; i < 400000; ++i) deep += open;
    std::string text = good_text();
    const std::size_t at = text.find("\"config\"");
    text.replace(at, text.size() - at, "\"config\": {\"run\": " + deep);
    for (const std::string& hostile : {deep, text}) {
      const Thrown thrown = refusal(hostile);
      CHECK(thrown.code == ExitCode::bad_input);
      CHECK(contains(thrown.text, "trainer.json is nested deeper than 16 levels"));
    }
  }
}

TEST_CASE("trainer state: seeded damage is read or refused, and the config with it") {
  const int refused = refusals_of_damaged(good_text(), 4000, "step_12/trainer.json", [](const std::string& bad) {
    const TrainerRecord record = parse_trainer_json(bad, "step_12/trainer.json");
    CHECK(record.state.step >= 0);
    parse_config(record.config_json, "step_12/trainer.json");
  });
  CHECK(refused > 2000);
}
