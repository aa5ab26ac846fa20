#include "train/trainer_state.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "bittern/hf_import.h"

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

/// Shapes alone do not make a model: the same weights with other heads or another rope_theta compute something else.
void check_same_model(const ModelSpec& ours, const ModelSpec& theirs, const std::string& folder) {
  const auto same = [&](const char* key, const auto& a, const auto& b) {
    if (a != b)
      throw input_error("model.{} is {}, and {}/config.json says {}; set model.{} to that, or take other weights", key,
                        a, folder, b, key);
  };
  same("num_hidden_layers", ours.num_hidden_layers, theirs.num_hidden_layers);
  same("num_attention_heads", ours.num_attention_heads, theirs.num_attention_heads);
  same("num_key_value_heads", ours.num_key_value_heads, theirs.num_key_value_heads);
  same("head_dim", ours.head_dim, theirs.head_dim);
  same("rope_theta", ours.rope_theta, theirs.rope_theta);
  same("rms_norm_eps", ours.rms_norm_eps, theirs.rms_norm_eps);
  same("tie_word_embeddings", ours.tie_word_embeddings, theirs.tie_word_embeddings);
  same("attention_bias", ours.attention_bias, theirs.attention_bias);
  same("qk_norm", ours.qk_norm, theirs.qk_norm);
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

void restore(const Run& run, const Checkpoint& checkpoint) {
  for (const bool optimizer_states : {false, true}) {
    const SafetensorsFile& file = optimizer_states ? checkpoint.optimizer : checkpoint.model;
    const std::vector<NamedTensor> wanted = run.checkpoint_tensors(optimizer_states, false);
    if (file.tensors().size() != wanted.size())
      throw input_error("{}: {} tensors, and the config's model has {}; it is a checkpoint of another model",
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
      run.backend->from_host(const_cast<std::byte*>(tensor.data.data()), buffer.data(),
                             static_cast<std::int64_t>(buffer.size()));
    }
  }
}

void initialize_from(const Run& run, const std::string& folder) {
  std::error_code error;
  if (std::filesystem::exists(folder + "/manifest.json", error)) verify_checkpoint(folder, CheckpointCheck::checksums);
  const HfModel source = HfModel::open(folder);
  check_same_model(run.config.model, source.spec(), folder);
  std::vector<ExpectedTensor> expected;
  const auto shape_of = [](const ParameterSpec& spec) {
    return std::vector<std::int64_t>(spec.shape.dims.begin(), spec.shape.dims.begin() + spec.shape.rank);
  };
  for (const Parameter& parameter : run.model->parameters())
    expected.push_back({parameter.spec.name, shape_of(parameter.spec)});
  source.check_tensors(expected);
  std::vector<float> values;
  for (const Parameter& parameter : run.model->parameters()) {
    values.resize(static_cast<std::size_t>(parameter.spec.shape.elements()));
    source.read_tensor(parameter.spec.name, DType::f32, shape_of(parameter.spec), values.data());
    run.model->load_parameter(parameter, values);
  }
}

}  // namespace bittern
