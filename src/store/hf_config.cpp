// Writes what `transformers` is told: config.json from a ModelSpec, tokenizer_config.json from a Tokenizer, and the
// warning for a tokenizer that `transformers` cannot be told of.
#include "store/hf_config.h"

#include <nlohmann/json.hpp>

#include "bittern/config.h"
#include "bittern/error.h"

namespace bittern {

namespace {

using nlohmann::ordered_json;

/// In transformers' words; null where the family has a window and this model none.
void add_windows(ordered_json& json, const ModelSpec& spec) {
  json["sliding_window"] = spec.sliding_window > 0 ? ordered_json(spec.sliding_window) : ordered_json(nullptr);
}

/// What a Gemma has beside the keys of all families. transformers 5 reads the list of layers, older ones the pattern.
void add_gemma(ordered_json& json, const ModelSpec& spec) {
  json.erase("hidden_act");
  json["hidden_activation"] = "gelu_pytorch_tanh";
  json["query_pre_attn_scalar"] = spec.query_pre_attn_scalar;
  const auto cap = [](double value) { return value > 0 ? ordered_json(value) : ordered_json(nullptr); };
  json["attn_logit_softcapping"] = cap(spec.attn_logit_softcapping);
  json["final_logit_softcapping"] = cap(spec.final_logit_softcapping);
  if (spec.rope_local_base_freq > 0) json["rope_local_base_freq"] = spec.rope_local_base_freq;
  add_windows(json, spec);
  ordered_json types = ordered_json::array();
  for (int layer = 0; layer < spec.num_hidden_layers; ++layer)
    types.push_back(spec.slides(layer) ? "sliding_attention" : "full_attention");
  json["layer_types"] = std::move(types);
  if (spec.sliding_window_pattern > 0) json["sliding_window_pattern"] = spec.sliding_window_pattern;
}

}  // namespace

std::string hf_config_json(const ModelSpec& spec, const WeightsSection& codecs, const SpecialIds& ids) {
  const bool bf16 = codecs[Role::attention_linear].storage == WeightStorage::bf16;
  nlohmann::ordered_json json = {{"architectures", {std::string(model_class_name(spec.architecture))}},
                                 {"model_type", spec.architecture},
                                 {"vocab_size", spec.vocab_size},
                                 {"hidden_size", spec.hidden_size},
                                 {"intermediate_size", spec.intermediate_size},
                                 {"num_hidden_layers", spec.num_hidden_layers},
                                 {"num_attention_heads", spec.num_attention_heads},
                                 {"num_key_value_heads", spec.num_key_value_heads},
                                 {"head_dim", spec.head_dim},
                                 {"hidden_act", "silu"},
                                 {"max_position_embeddings", spec.max_position_embeddings},
                                 {"initializer_range", spec.initializer_range},
                                 {"rms_norm_eps", spec.rms_norm_eps},
                                 {"rope_theta", spec.rope_theta},
                                 {"tie_word_embeddings", spec.tie_word_embeddings},
                                 {"attention_bias", spec.attention_bias && spec.architecture != "qwen2"},
                                 {"attention_dropout", 0.0},
                                 {"torch_dtype", bf16 ? "bfloat16" : "float32"}};
  if (const RopeScaling& rope = spec.rope_scaling; rope.rope_type == RopeType::linear)
    json["rope_scaling"] = {{"rope_type", name(rope.rope_type)}, {"factor", rope.factor}};
  else if (rope.rope_type == RopeType::llama3)
    json["rope_scaling"] = {{"rope_type", name(rope.rope_type)},
                            {"factor", rope.factor},
                            {"low_freq_factor", rope.low_freq_factor},
                            {"high_freq_factor", rope.high_freq_factor},
                            {"original_max_position_embeddings", rope.original_max_position_embeddings}};
  if (spec.architecture == "llama") json["mlp_bias"] = false;
  if (spec.architecture == "mistral") {  // without the key transformers takes a window of 4096
    add_windows(json, spec);
    json.erase("attention_bias");
  }
  if (spec.architecture.starts_with("gemma")) add_gemma(json, spec);
  if (spec.architecture == "qwen2") json.erase("attention_bias");  // implied by the family
  if (const auto quantization = quantization_config(codecs); !quantization.is_null())
    json["quantization_config"] = quantization;
  if (ids.bos >= 0) json["bos_token_id"] = ids.bos;
  if (ids.eos.size() == 1) json["eos_token_id"] = ids.eos.front();
  if (ids.eos.size() > 1) json["eos_token_id"] = ids.eos;
  if (ids.pad >= 0) json["pad_token_id"] = ids.pad;
  return json.dump(2) + "\n";
}

SpecialIds special_ids(const std::optional<Tokenizer>& tokenizer) {
  if (!tokenizer || tokenizer->eos() < 0) return {};
  return {.bos = tokenizer->eos(), .eos = {tokenizer->eos()}, .pad = tokenizer->pad()};
}

std::vector<CheckpointContents::SmallFile> tokenizer_files(const Tokenizer& tokenizer) {
  nlohmann::ordered_json json = {{"tokenizer_class", "LlamaTokenizer"},
                                 {"add_bos_token", false},
                                 {"add_eos_token", false},
                                 {"add_prefix_space", tokenizer.dummy_prefix()},
                                 {"legacy", false}};
  const auto add = [&](const char* key, std::int32_t id) {
    if (id >= 0) json[key] = tokenizer.piece(id);
  };
  add("unk_token", tokenizer.unknown());
  add("bos_token", tokenizer.eos());
  add("eos_token", tokenizer.eos());
  add("pad_token", tokenizer.pad());
  return {{"tokenizer_config.json", json.dump(2) + "\n"}};
}

std::string warning_of_transformers(const Tokenizer& tokenizer) {
  const std::string normalization = tokenizer.normalization();
  if (tokenizer.kind() == TokenizerKind::bpe && tokenizer.byte_fallback() && !tokenizer.has_user_defined() &&
      normalization.empty())
    return "";
  return fmt::format(
      "the tokenizer is of the kind {}{}{}{}; transformers can only be told of a LlamaTokenizer, a byte-pair model with byte "
      "fallback that keeps the text and has no user-defined pieces, and may read other ids than training did: use "
      "tokenizer.model with the sentencepiece library instead",
      tokenizer_kind_names[static_cast<std::size_t>(tokenizer.kind())],
      tokenizer.byte_fallback() ? "" : " without byte fallback",
      tokenizer.has_user_defined() ? " with user-defined pieces" : "",
      normalization.empty() ? "" : " and changes text: " + normalization);
}

}  // namespace bittern
