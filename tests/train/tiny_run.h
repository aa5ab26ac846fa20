// A tiny run on the tiny corpus, and what the tests of whole runs ask of it.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bittern/checkpoint.h"
#include "bittern/config.h"
#include "bittern/trainer.h"
#include "catch.h"
#include "train/tiny_corpus.h"
#include "watch/metric_table.h"

namespace bittern::tiny_run {

namespace fs = std::filesystem;

inline std::string config_text(const std::string& extra = "{}") {
  nlohmann::json config = {{"run", {{"name", "tiny"}, {"seed", 3}, {"threads", 2}}},
                           {"model",
                            {{"hidden_size", 32},
                             {"num_hidden_layers", 2},
                             {"num_attention_heads", 4},
                             {"num_key_value_heads", 2},
                             {"intermediate_size", 48},
                             {"max_position_embeddings", 64}}},
                           {"data", {{"path", corpus()}, {"sequence_length", 24}}},
                           {"train",
                            {{"steps", 12},
                             {"batch_sequences", 4},
                             {"micro_batch_sequences", 2},
                             {"evaluate_every", 4},
                             {"evaluate_sequences", 4},
                             {"checkpoint_every", 3},
                             {"keep_checkpoints", 0},
                             {"sample_every", 6},
                             {"sample_tokens", 5}}},
                           {"schedule", {{"lr", 0.01}, {"warmup_steps", 2}}},
                           {"precision", {{"compute", "f32"}}}};
  config.merge_patch(nlohmann::json::parse(extra));
  return config.dump();
}

inline RunConfig config(const std::string& extra = "{}") {
  return parse_config(config_text(extra), "test");
}

inline std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Every file below a folder with its bytes.
inline std::map<std::string, std::string> content(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[entry.path().string()] = bytes_of(entry.path().string());
  return files;
}

inline void check_same_weights(const std::string& run_a, const std::string& run_b, std::int64_t step) {
  for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
    INFO(file);
    const std::string a = bytes_of(run_a + "/checkpoints/" + checkpoint_name(step) + "/" + file);
    REQUIRE(!a.empty());
    CHECK(a == bytes_of(run_b + "/checkpoints/" + checkpoint_name(step) + "/" + file));
  }
}

inline std::vector<nlohmann::json> metrics(const std::string& run) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(run + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    lines.push_back(nlohmann::json::parse(line));
    const auto erase_timing = [&](const auto& table) {
      for (const auto& metric : table)
        if (metric.timing) lines.back().erase(metric.name);
    };
    erase_timing(metric_tables().step);
    erase_timing(metric_tables().evaluation);
  }
  return lines;
}

/// The undisturbed run of a config, made once.
inline const std::string& reference_run() {
  static const Scratch scratch("training_reference");
  static const std::string run = scratch.path + "/run";
  if (!fs::exists(run)) REQUIRE(train(config(), {.out = run}) == ExitCode::ok);
  return run;
}

/// What the action asks for is the user's mistake, and the message holds `text`.
template <typename Action>
void check_refused(const Action& action, const std::string& text) {
  INFO(text);
  try {
    action();
    FAIL("accepted");
  } catch (const Error& error) {
    INFO(error.what());
    CHECK(error.exit_code() == ExitCode::bad_input);
    CHECK(std::string(error.what()).find(text) != std::string::npos);
  }
}

/// So is going on with `run` under another config.
inline void check_refused(const std::string& run, const std::string& extra, const std::string& text) {
  check_refused([&] { train(config(extra), {.out = run}); }, text);
}

}  // namespace bittern::tiny_run
