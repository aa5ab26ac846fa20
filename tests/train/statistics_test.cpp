// The numbers that statistics tell of each role, from a run's own checkpoints: errors of rounding, how alike those of
// successive steps are, codes that changed or are at an end, the largest moments, summed here in double precision.
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "bittern/checkpoint.h"
#include "bittern/trainer.h"
#include "catch.h"
#include "train/stored_values.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;

namespace {

/// What a role's weights of E4M3 beside an f32 master are in one checkpoint.
struct Stored {
  std::vector<std::uint8_t> codes;
  std::vector<double> master, error;
  double m_absmax = 0, v_max = 0;

  Stored(const std::string& folder, const std::vector<std::string>& names) {
    const SafetensorsFile model = SafetensorsFile::open(folder + "/model.safetensors"),
                          optimizer = SafetensorsFile::open(folder + "/optimizer.safetensors");
    for (const std::string& name : names) {
      const std::vector<std::uint8_t> own = read_tensor<std::uint8_t>(model, name);
      const std::vector<float> scales = read_tensor<float>(model, name + "_scale"),
                               masters = read_tensor<float>(optimizer, "master." + name);
      for (std::size_t i = 0; i < own.size(); ++i) {
        const double scale = static_cast<double>(scales[i / (own.size() / scales.size())]);
        codes.push_back(own[i]);
        master.push_back(static_cast<double>(masters[i]));
        error.push_back(master.back() - e4m3_value(own[i]) * scale);
      }
      for (const float m : read_tensor<float>(optimizer, "m." + name))
        m_absmax = std::max(m_absmax, std::fabs(static_cast<double>(m)));
      for (const float v : read_tensor<float>(optimizer, "v." + name)) v_max = std::max(v_max, static_cast<double>(v));
    }
  }
};

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

TEST_CASE("statistics: every number of a role is what the checkpoints before and after the step say") {
  const Scratch scratch("statistics");
  const std::string run = scratch.path + "/run";
  REQUIRE(
      train(config(R"({"train": {"steps": 4, "checkpoint_every": 1, "statistics_every": 1}, "schedule": {"lr": 0.003},
                           "weights": {"block_linear": {"codec": "fp8_e4m3", "master": "f32"}}})"),
            {.out = run}) == ExitCode::ok);

  std::map<std::string, std::vector<std::string>> names;
  for (int layer = 0; layer < 2; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
      names["attention_linear"].push_back(block + ".self_attn." + name + ".weight");
    for (const char* name : {"gate_proj", "up_proj", "down_proj"})
      names["mlp_linear"].push_back(block + ".mlp." + name + ".weight");
  }
  int compared = 0;
  for (const nlohmann::json& line : metrics(run)) {
    if (!line.contains("statistics") || line["step"] == 1) continue;
    const int step = line["step"];
    for (const auto& [role, list] : names) {
      CAPTURE(step, role);
      const nlohmann::json& told = line["statistics"][role];
      const auto folder = [&](int at) { return run + "/checkpoints/" + checkpoint_name(at); };
      const Stored before(folder(step - 1), list), after(folder(step), list);
      double changed = 0, saturated = 0;
      for (std::size_t i = 0; i < after.codes.size(); ++i) {
        changed += after.codes[i] != before.codes[i];
        saturated += (after.codes[i] & 0x7f) == 0x7e;  // +-448
      }
      const double n = static_cast<double>(after.codes.size()), error = std::sqrt(dot(after.error, after.error)),
                   error_before = std::sqrt(dot(before.error, before.error));
      const auto is = [&](const char* key, double expected) {
        CAPTURE(key, expected, told[key].get<double>());
        // A cosine near 0 is what is left of sums that cancel: it is known to some 1e-7 of 1.
        CHECK(std::fabs(told[key].get<double>() - expected) <= 1e-5 * std::fabs(expected) + 1e-7);
      };
      is("relative_error", error / std::sqrt(dot(after.master, after.master)));
      is("error_ratio", error / error_before);
      is("error_cosine", dot(before.error, after.error) / (error_before * error));
      is("changed", changed / n);
      is("saturated", saturated / n);
      is("m_absmax", after.m_absmax);
      is("v_max", after.v_max);
      CHECK(changed > 0);
      CHECK(saturated > 0);
      ++compared;
    }
  }
  CHECK(compared == 6);
}

TEST_CASE("statistics: moments in few bits tell what storing them took, moments in f32 do not") {
  const Scratch scratch("moment_statistics");
  const std::string run = scratch.path + "/run";
  REQUIRE(train(config(R"({"train": {"steps": 2, "statistics_every": 2}, "schedule": {"lr": 0.003},
                           "optimizer": {"states": {"m": "de4", "v": "de4", "min_elements": 0}}})"),
                {.out = run}) == ExitCode::ok);
  int compared = 0;
  for (const nlohmann::json& line : metrics(run)) {
    if (!line.contains("statistics")) continue;
    const nlohmann::json &linear = line["statistics"]["mlp_linear"], &norm = line["statistics"]["norm"];
    CHECK(linear["m_relative_error"].get<double>() > 0.02);  // nearest in 4 bits
    CHECK(linear["m_relative_error"].get<double>() < 0.3);
    CHECK(linear["v_zeroed"].get<double>() > 0.0);  // blocks of 128 hold gradients a thousand times apart, squared
    CHECK(linear["v_zeroed"].get<double>() < 0.9);
    CHECK_FALSE(norm.contains("m_relative_error"));
    CHECK_FALSE(norm.contains("v_zeroed"));
    ++compared;
  }
  CHECK(compared == 1);
}
