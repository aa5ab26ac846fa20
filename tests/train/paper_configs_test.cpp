// configs/: every file is a config that plans; ECO's models have the paper's parameters, and the combined recipes the
// promised bytes. What each row is, and its miniature, is in paper_rows_test.cpp.
#include <filesystem>
#include <map>
#include <set>

#include "bittern/config.h"
#include "catch.h"
#include "source_dir.h"
#include "train/session/role_memory.h"
#include "train/session/session.h"

using namespace bittern;
namespace fs = std::filesystem;

namespace {

const fs::path configs = fs::path(bittern::source_dir()) / "configs";

std::vector<fs::path> json_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

RunConfig load(const fs::path& file) {
  RunConfig config = load_config(file.string());
  if (config.model.vocab_size == 0) config.model.vocab_size = 2048;  // the data's, which is not here
  return config;
}

}  // namespace

TEST_CASE("paper configs: every file plans, and names of runs tell them apart") {
  std::map<std::string, fs::path> names;
  for (const fs::path& file : json_files(configs)) {
    CAPTURE(file.string());
    const RunConfig config = load(file);
    CHECK(Session::for_training(config, 0)->plan.arena_bytes() > 0);
    if (config.run.name == "run") continue;  // a recipe or a treatment, of which rows are made
    const std::string paper = fs::relative(file, configs).begin()->string();
    if (paper != "base" && paper != "quickstart.json") CHECK(config.train.statistics_every > 0);
    const bool first = names.emplace(config.run.name, file).second;
    if (!first && file.filename() != "recipe.json" && file.filename() != "base.json") {
      CAPTURE(config.run.name, names[config.run.name].string());
      CHECK(first);
    }
  }
}

TEST_CASE("paper configs: ECO's sizes have the paper's parameters and tokens") {
  const struct {
    const char* size;
    std::int64_t block_parameters;
    double tokens;
  } sizes[] = {{"30m", 30474240, 3e9},    {"50m", 49545216, 5e9},    {"100m", 102760448, 10e9},
               {"200m", 203161600, 20e9}, {"430m", 443023360, 43e9}, {"800m", 822083584, 80e9}};
  for (const auto& [size, block_parameters, tokens] : sizes) {
    CAPTURE(size);
    const RunConfig config = load(configs / "eco" / size / "eco_sr.json");
    const std::int64_t d = config.model.hidden_size;
    CHECK(config.model.num_hidden_layers * (4 * d * d + 3 * d * config.model.intermediate_size) == block_parameters);
    CHECK(static_cast<double>(config.train.steps * config.train.batch_sequences * config.data.sequence_length) ==
          Approx(tokens).epsilon(1e-4));
    CHECK(config.weights[Role::mlp_linear].error_feedback == ErrorFeedback::eco);
    CHECK(config.optimizer.beta2 == 0.98);
  }
}

TEST_CASE("paper configs: Muon with all of the model in few bytes keeps what is promised of it") {
  const struct {
    const char* size;
    std::int64_t parameters;
    double most;  ///< bytes of the whole model that are kept, per parameter
  } sizes[] = {{"30m", 71606400, 2.7},
               {"124m", 123587328, 2.4},
               {"350m", 359842816, 2.2},
               {"1.2b", 1235814400, 2.3},
               {"8b", 8030261248, 2.2}};
  for (const auto& [size, parameters, most] : sizes) {
    CAPTURE(size);
    for (const fs::path& file : json_files(configs / "frontier" / size)) {
      const RunConfig config = load(file);
      const RoleMemory whole = sum_of_roles(role_memory(*Session::for_training(config, 0)), false);
      CHECK(whole.parameters == parameters);
      if (file.stem() == "muon_whole_model") CHECK(whole.per_parameter(whole.kept()) <= most);
      if (file.stem() == "adamw") CHECK(whole.per_parameter(whole.kept()) == 12.0);
    }
  }
}

TEST_CASE("paper configs: low-bit weights with low-bit states take less than 2.5 bytes per quantized parameter") {
  std::size_t rows = 0;
  for (const fs::path& file : json_files(configs / "combined/30m")) {
    const RunConfig config = load(file);
    if (config.optimizer.states.m == "f32") continue;  // what the others are compared with
    CAPTURE(file.string());
    for (const RoleMemory& role : role_memory(*Session::for_training(config, 0)))
      if (info(role.role).is_linear) CHECK(role.per_parameter(role.kept()) < 2.5);
    ++rows;
  }
  CHECK(rows >= 8);
}
