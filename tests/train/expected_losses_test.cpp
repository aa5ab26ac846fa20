// The losses of tiny runs, step by step, as they were when tests/golden/expected_losses.json was made: a change of any
// part of training that changes what is computed shows here. Each recipe's tolerance is some times what instruction
// sets differ by. After a change that is meant to change losses, or to add a recipe (write its name, config and
// tolerance):
//   build/test/expected_losses_test "[make]"      makes the losses anew, with the portable instruction set
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bittern/config.h"
#include "bittern/quant/philox.h"
#include "bittern/trainer.h"
#include "catch.h"
#include "ops/every_isa.h"
#include "source_dir.h"
#include "temporary_folder.h"

using namespace bittern;
using Recipes = nlohmann::ordered_json;

namespace {

const std::string recipes_path = bittern::source_dir() + "/tests/golden/expected_losses.json";
constexpr std::uint32_t vocabulary = 96;
constexpr std::size_t steps = 20;

Recipes read_recipes() {
  std::ifstream file(recipes_path);
  REQUIRE(file);
  return Recipes::parse(file);
}

/// A folder with token data that goes with the test.
class Folder {
 public:
  Folder() { write_tokens(); }
  std::string data() const { return folder_ / "tokens.bin"; }
  std::string new_run() { return folder_ / ("run" + std::to_string(runs_++)); }

 private:
  /// llm.c's format. Three times in four a token follows from the two before it, else it is any: something to learn,
  /// made without a tokenizer, whose versions differ.
  void write_tokens() const {
    constexpr std::int32_t count = 20000;
    std::vector<std::int32_t> header(256);
    header[0] = 20240520;
    header[1] = 1;
    header[2] = count;
    std::vector<std::uint16_t> tokens(count);
    for (std::size_t i = 2; i < tokens.size(); ++i) {
      const std::uint32_t word = philox(philox_key(1, Purpose::test), i, 0, 0);
      const std::uint32_t next = word % 4 != 0 ? 5u * tokens[i - 1] + 3u * tokens[i - 2] + 1u : word >> 8;
      tokens[i] = static_cast<std::uint16_t>(next % vocabulary);
    }
    std::ofstream file(data(), std::ios::binary);
    file.write(reinterpret_cast<const char*>(header.data()), 1024);
    file.write(reinterpret_cast<const char*>(tokens.data()), 2 * count);
  }

  TemporaryFolder folder_{"expected_losses"};
  int runs_ = 0;
};

std::vector<double> losses_of(const Recipes& recipe, Folder& folder) {
  nlohmann::json config = {{"run", {{"seed", 7}, {"threads", 2}}},
                           {"model",
                            {{"vocab_size", vocabulary},
                             {"hidden_size", 64},
                             {"num_hidden_layers", 2},
                             {"num_attention_heads", 4},
                             {"num_key_value_heads", 2},
                             {"head_dim", 16},
                             {"intermediate_size", 160},
                             {"residual_init", "plain"}}},
                           {"data", {{"path", folder.data()}, {"sequence_length", 48}}},
                           {"train",
                            {{"steps", steps},
                             {"batch_sequences", 8},
                             {"micro_batch_sequences", 4},
                             {"evaluate_every", 0},
                             {"checkpoint_every", 0}}},
                           {"schedule", {{"lr", 0.005}, {"warmup_steps", 4}}}};
  config.merge_patch(nlohmann::json::parse(recipe.at("config").dump()));
  const std::string run = folder.new_run();
  REQUIRE(train(parse_config(config.dump(), recipe.at("name").get<std::string>()), {.out = run}) == ExitCode::ok);
  std::vector<double> losses;
  std::ifstream file(run + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);)
    if (const auto json = nlohmann::json::parse(line); json.contains("loss")) losses.push_back(json["loss"]);
  REQUIRE(losses.size() == steps);
  return losses;
}

}  // namespace

TEST_CASE("training: the losses of every recipe are those expected, on every instruction set") {
  Folder folder;
  const Recipes recipes = read_recipes();
  REQUIRE(recipes.size() == 14);  // a recipe that is lost is no recipe that passes
  for (const Recipes& recipe : recipes) {
    const std::vector<double> expected = recipe.at("losses");
    REQUIRE(expected.size() == steps);
    CHECK(expected.front() == Approx(std::log(vocabulary)).epsilon(0.05));
    CHECK(expected.back() < expected.front() - 0.2);
    cpu::on_every_isa([&] {
      const std::vector<double> losses = losses_of(recipe, folder);
      double worst = 0;
      for (std::size_t i = 0; i < losses.size(); ++i) worst = std::max(worst, std::abs(losses[i] - expected[i]));
      INFO(recipe.at("name") << ": the largest difference is " << worst);
      CHECK(worst <= recipe.at("tolerance").get<double>());
    });
  }
}

// Hidden: runs only when asked for by its tag.
TEST_CASE("make the expected losses", "[.][make]") {
  Folder folder;
  cpu::set_isa(cpu::Isa::portable);
  Recipes recipes = read_recipes();
  for (Recipes& recipe : recipes) recipe["losses"] = losses_of(recipe, folder);
  std::ofstream file(recipes_path);
  file << "[";
  for (std::size_t i = 0; i < recipes.size(); ++i) {
    file << (i > 0 ? ",\n {" : "\n {");
    for (const auto& [key, value] : recipes[i].items())
      file << (key == "name" ? "" : ",\n  ") << '"' << key << "\": " << value.dump();
    file << "}";
  }
  file << "\n]\n";
}
