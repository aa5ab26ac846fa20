// Writes and reads trainer.json: what a checkpoint holds beside tensors.
#include "store/training_state.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "bittern/strict_json.h"

namespace bittern {
namespace {

constexpr int trainer_version = 1;

/// Absent in checkpoints older than it, which are of arithmetic 1.
constexpr const char* arithmetic_key = "arithmetic";

/// The version of "config"; absent in checkpoints older than it, which are of version 1.
constexpr const char* config_version_key = "config_version";

std::int64_t count_field(const nlohmann::json& json, const char* key, const std::string& path) {
  const auto at = json.find(key);
  if (at == json.end() || !at->is_number_unsigned() || at->get<std::uint64_t>() > (std::uint64_t{1} << 62))
    throw input_error("{}: \"{}\" must be a whole number of at least 0; the checkpoint is damaged, use another one",
                      path, key);
  return at->get<std::int64_t>();
}

std::string text_field(const nlohmann::json& json, const char* key, const std::string& path) {
  const auto at = json.find(key);
  if (at == json.end() || !at->is_string())
    throw input_error("{}: \"{}\" must be a string; the checkpoint is damaged, use another one", path, key);
  return at->get<std::string>();
}

nlohmann::ordered_json json_of(const RunningMeans& means) {
  return {{"steps", means.steps},
          {"loss", means.loss},
          {"loss_square", means.loss_square},
          {"norm", means.norm},
          {"norm_square", means.norm_square}};
}

/// None where the checkpoint is of a program that had none: they begin anew.
RunningMeans means_field(const nlohmann::json& json, const std::string& path) {
  const auto at = json.find("running_means");
  if (at == json.end()) return {};
  if (!at->is_object())
    throw input_error("{}: \"running_means\" must be an object; the checkpoint is damaged, use another one", path);
  const auto number = [&](const char* key) {
    const auto value = at->find(key);
    if (value == at->end() || !value->is_number() || !std::isfinite(value->get<double>()))
      throw input_error(
          "{}: \"running_means\": \"{}\" must be a finite number; the checkpoint is damaged, use another one", path,
          key);
    return value->get<double>();
  };
  return {.loss = number("loss"),
          .loss_square = number("loss_square"),
          .norm = number("norm"),
          .norm_square = number("norm_square"),
          .steps = count_field(*at, "steps", path)};
}

}  // namespace

std::string trainer_json(const TrainingState& state, const RunIdentity& identity, const RunConfig& config,
                         bool finite) {
  const nlohmann::ordered_json json = {{"version", trainer_version},
                                       {arithmetic_key, current_arithmetic},
                                       {"step", state.step},
                                       {"update", state.update},
                                       {"tokens", state.tokens},
                                       {"skipped_steps", state.skipped_steps},
                                       {"skipped_in_a_row", state.skipped_in_a_row},
                                       {"running_means", json_of(state.means)},
                                       {"proven_checkpoint", state.proven_checkpoint},
                                       {"finite", finite},
                                       {"backend", identity.backend},
                                       {"data_fingerprint", identity.data_fingerprint},
                                       {config_version_key, config_version},
                                       {"config", nlohmann::ordered_json::parse(config_json(config))}};
  return json.dump(2) + "\n";
}

TrainerRecord parse_trainer_json(const std::string& text, const std::string& path) {
  const nlohmann::json json = parse_strict_json(text, path);
  if (!json.is_object()) throw input_error("{}: not a JSON object; the checkpoint is damaged, use another one", path);
  if (count_field(json, "version", path) != trainer_version)
    throw input_error("{}: version {} was written by another version of bittern; this one reads version {}", path,
                      json["version"].dump(), trainer_version);
  if (!json.contains("config") || !json["config"].is_object())
    throw input_error("{}: \"config\" must be an object; the checkpoint is damaged, use another one", path);
  const std::int64_t version = json.contains(config_version_key) ? count_field(json, config_version_key, path) : 1;
  if (version > config_version)
    throw input_error("{}: {} {} was written by a newer bittern; this one reads up to {}: use that one", path,
                      config_version_key, version, config_version);
  // Younger than version 1: where they are missing, they are not known.
  std::int64_t proven = -1;
  if (json.contains("proven_checkpoint") && json["proven_checkpoint"] != -1)
    proven = count_field(json, "proven_checkpoint", path);
  if (json.contains("finite") && !json["finite"].is_boolean())
    throw input_error("{}: \"finite\" must be true or false; the checkpoint is damaged, use another one", path);
  return {.state = {.step = count_field(json, "step", path),
                    .update = count_field(json, "update", path),
                    .tokens = count_field(json, "tokens", path),
                    .skipped_steps = count_field(json, "skipped_steps", path),
                    .skipped_in_a_row = count_field(json, "skipped_in_a_row", path),
                    .means = means_field(json, path),
                    .proven_checkpoint = proven},
          .identity = {.backend = text_field(json, "backend", path),
                       .data_fingerprint = text_field(json, "data_fingerprint", path)},
          .finite = json.value("finite", true),
          .config_json = migrated_config(json["config"].dump(), version),
          .arithmetic = json.contains(arithmetic_key) ? count_field(json, arithmetic_key, path) : 1};
}

}  // namespace bittern
