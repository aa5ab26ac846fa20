#include "train/trainer_state.h"

#include <map>
#include <nlohmann/json.hpp>

#include "train/stored_codes.h"

namespace bittern {
namespace {

constexpr int trainer_version = 1;

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

}  // namespace

std::string trainer_json(const TrainerState& state, const RunIdentity& identity, const RunConfig& config) {
  const nlohmann::ordered_json json = {{"version", trainer_version},
                                       {"step", state.step},
                                       {"update", state.update},
                                       {"tokens", state.tokens},
                                       {"skipped_steps", state.skipped_steps},
                                       {"skipped_in_a_row", state.skipped_in_a_row},
                                       {"backend", identity.backend},
                                       {"data_fingerprint", identity.data_fingerprint},
                                       {"config", nlohmann::ordered_json::parse(config_json(config))}};
  return json.dump(2) + "\n";
}

TrainerRecord parse_trainer_json(const std::string& text, const std::string& path) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) throw input_error("{}: not a JSON object; the checkpoint is damaged, use another one", path);
  if (count_field(json, "version", path) != trainer_version)
    throw input_error("{}: version {} was written by another version of bittern; this one reads version {}", path,
                      json["version"].dump(), trainer_version);
  if (!json.contains("config") || !json["config"].is_object())
    throw input_error("{}: \"config\" must be an object; the checkpoint is damaged, use another one", path);
  return {.state = {.step = count_field(json, "step", path),
                    .update = count_field(json, "update", path),
                    .tokens = count_field(json, "tokens", path),
                    .skipped_steps = count_field(json, "skipped_steps", path),
                    .skipped_in_a_row = count_field(json, "skipped_in_a_row", path)},
          .identity = {.backend = text_field(json, "backend", path),
                       .data_fingerprint = text_field(json, "data_fingerprint", path)},
          .config_json = json["config"].dump()};
}

namespace {

/// What the scales of a run must be: those of weights and masters above 0, those of moments (rank-1 maxima and factored
/// means included) of at least 0.
std::map<std::string, ScaleSign> scale_signs(const Run& run) {
  std::map<std::string, ScaleSign> signs;
  const auto add = [&](TensorId id, ScaleSign sign) {
    if (id) signs[run.plan[id].name] = sign;
  };
  for (const Parameter& parameter : run.model->parameters()) {
    for (const TensorId id : {parameter.scale, parameter.master_scale}) add(id, ScaleSign::positive);
    for (const MomentIds& moment : {parameter.m, parameter.v})
      for (const TensorId id : {moment.scales, moment.row, moment.column}) add(id, ScaleSign::not_negative);
  }
  return signs;
}

}  // namespace

void restore(const Run& run, const Checkpoint& checkpoint) {
  const std::map<std::string, ScaleSign> signs = scale_signs(run);
  for (const bool optimizer_states : {false, true}) {
    const SafetensorsFile& file = optimizer_states ? checkpoint.optimizer : checkpoint.model;
    const std::vector<NamedTensor> wanted = run.checkpoint_tensors(optimizer_states, false);
    if (file.tensors().size() != wanted.size())
      throw input_error(
          "{}: {} tensors, and the config's model has {}; it is a checkpoint of another model or of other codecs",
          file.path(), file.tensors().size(), wanted.size());
    std::vector<std::byte> buffer;
    for (const NamedTensor& tensor : wanted) {
      const SafetensorsEntry* found = file.find(tensor.name);
      if (!found || found->dtype != tensor.dtype || found->shape != tensor.shape)
        throw input_error(
            "{}: {} is missing, or not the {} of {} bytes that the config asks for; it is a checkpoint of another "
            "model or of other codecs",
            file.path(), tensor.name, tensor.dtype, tensor.data.size());
      buffer.resize(tensor.data.size());
      file.read(tensor.name, buffer);
      const std::string where = fmt::format("{}: {}", file.path(), tensor.name);
      if (const auto sign = signs.find(tensor.name); sign != signs.end()) check_scales(buffer, sign->second, where);
      if (tensor.dtype == info(DType::e4m3).safetensors) check_codes(buffer, DType::e4m3, where);
      run.backend->from_host(const_cast<std::byte*>(tensor.data.data()), buffer.data(),
                             static_cast<std::int64_t>(buffer.size()));
    }
  }
}

}  // namespace bittern
