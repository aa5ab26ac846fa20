// Configs in older checkpoints: a key that is younger than the checkpoint has the value that the old program behaved by.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "bittern/config.h"
#include "bittern/file.h"
#include "catch.h"
#include "source_dir.h"

using namespace bittern;
using nlohmann::json;
namespace fs = std::filesystem;

TEST_CASE("migrations: a key that the old program did not know is what it did; one that it knew stays") {
  const auto migrated = [](const char* text, std::int64_t version) {
    return json::parse(migrated_config(text, version));
  };
  CHECK(migrated(R"({"model":{}})", 1) == json{{"model", {{"residual_init", "plain"}}}});
  CHECK(migrated(R"({"model":{"residual_init":"scaled"}})", 1) == json{{"model", {{"residual_init", "scaled"}}}});
  CHECK(migrated(R"({"model":{}})", config_version) == json{{"model", json::object()}});
  // A damaged one is left to the parser, which names what is wrong.
  for (const char* damaged : {R"({})", R"({"model":3})", R"({"model":[]})", R"({"model":null})"})
    CHECK(migrated(damaged, 1) == json::parse(damaged));
}

TEST_CASE("migrations: a config of today, migrated from any version, is what it was") {
  const std::string today = config_json(parse_config("{}", "a.json"));
  for (std::int64_t version = 1; version <= config_version; ++version)
    CHECK(json::parse(migrated_config(today, version)) == json::parse(today));
}

TEST_CASE("migrations: the configs of runs of an older program are read with what it did by every younger key") {
  int configs = 0;
  for (const auto& run : fs::directory_iterator(source_dir() + "/tests/golden/older_runs")) {
    if (!run.is_directory()) continue;
    const std::string path = run.path().string() + "/checkpoints/step_00000010/trainer.json";
    const json trainer = json::parse(read_whole_file(path, 1 << 20, "a trainer.json"));
    REQUIRE_FALSE(trainer.contains("config_version"));
    REQUIRE_FALSE(trainer["config"]["model"].contains("residual_init"));
    const RunConfig config = parse_config(migrated_config(trainer["config"].dump(), 1), path);
    // What the program of commit 9837240 did where it had no key.
    CHECK(config.model.residual_init == ResidualInit::plain);
    CHECK(config.train.skip_deviations == 0);
    CHECK(config.model.rope_scaling.rope_type == RopeType{});
    CHECK(config.model.sliding_window == 0);
    for (const RoleStates& role : config.optimizer.states.roles.values) CHECK(role == RoleStates{});
    ++configs;
  }
  CHECK(configs == 2);
  CHECK(parse_config("{}", "a.json").model.residual_init != ResidualInit::plain);  // else the row would not be needed
}
