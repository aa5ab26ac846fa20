// Import, config.json: three tables say which keys are needed, which may have one value only, and what each family
// means by leaving a key out.
#include <array>
#include <cmath>
#include <limits>

#include "bittern/error.h"
#include "bittern/hf_import.h"
#include "bittern/strict_json.h"

namespace bittern {
namespace {

using nlohmann::json;

struct Family {
  std::string_view model_type;
  bool qkv_bias, qk_norm;
  std::int64_t head_dim;  // when config.json has none; 0: hidden_size / num_attention_heads
};
constexpr std::array<Family, 3> families = {
    {{"llama", false, false, 0}, {"qwen2", true, false, 0}, {"qwen3", false, true, 128}}};

// Sizes: every one a whole number. The upper bounds keep all products of two of them far from 2^63.
struct Size {
  const char* key;
  std::int64_t most;
};
constexpr std::array<Size, 5> needed_sizes = {{{"vocab_size", 1 << 24},
                                               {"hidden_size", 1 << 20},
                                               {"intermediate_size", 1 << 22},
                                               {"num_hidden_layers", 1 << 12},
                                               {"num_attention_heads", 1 << 12}}};

// Keys of which bittern knows one meaning. A key that is missing or null means the same as the value here.
struct OneValue {
  const char* key;
  const char* value;  // as JSON
  const char* because;
};
constexpr std::array<OneValue, 12> one_value_keys = {{
    {"hidden_act", "\"silu\"", "only the SwiGLU MLP is implemented"},
    {"mlp_bias", "false", "biases of the MLP are not implemented"},
    {"use_sliding_window", "false", "attention over a window is not implemented"},
    {"quantization_config", "null", "quantized weights must be dequantized first"},
    {"partial_rotary_factor", "1.0", "rotation of a part of each head is not implemented"},
    {"attention_dropout", "0.0", "dropout is not implemented"},
    {"hidden_dropout", "0.0", "dropout is not implemented"},
    {"embd_pdrop", "0.0", "dropout is not implemented"},
    {"final_logit_softcapping", "null", "soft caps are not implemented"},
    {"attn_logit_softcapping", "null", "soft caps are not implemented"},
    {"is_encoder_decoder", "false", "only decoders are implemented"},
    {"add_cross_attention", "false", "only decoders are implemented"},
}};

class ConfigReader {
 public:
  ConfigReader(json config, std::string_view path) : config_(std::move(config)), path_(path) {}

  json finish() {
    const Family& family = family_of();
    for (const OneValue& rule : one_value_keys) {
      const json* value = find(rule.key);
      if (value && *value != json::parse(rule.value))
        throw input_error("{}: {} is {}; expected {}: {}; choose another model", path_, rule.key, excerpt(*value),
                          rule.value, rule.because);
    }
    check_windows();
    check_rope();
    for (const Size& size : needed_sizes) whole_number(size.key, size.most, 0);

    const std::int64_t heads = config_["num_attention_heads"], hidden = config_["hidden_size"];
    const std::int64_t key_value_heads = whole_number("num_key_value_heads", heads, heads);
    if (heads % key_value_heads != 0)
      throw input_error(
          "{}: num_key_value_heads is {}; expected a divisor of num_attention_heads, which is {}; correct it", path_,
          key_value_heads, heads);
    const bool needs_head_dim = find("head_dim") == nullptr && family.head_dim == 0;
    if (needs_head_dim && hidden % heads != 0)
      throw input_error(
          "{}: hidden_size is {}; expected a multiple of num_attention_heads, which is {}, as there is no "
          "head_dim; correct it",
          path_, hidden, heads);
    const std::int64_t head_dim = whole_number("head_dim", 1 << 16, needs_head_dim ? hidden / heads : family.head_dim);
    if (head_dim % 2 != 0)
      throw input_error("{}: head_dim is {}; expected an even number, as rotary embedding turns pairs; correct it",
                        path_, head_dim);
    whole_number("max_position_embeddings", std::int64_t{1} << 30, 2048);
    real_number("rope_theta", 10000.0);
    real_number("rms_norm_eps", 1e-6);
    real_number("initializer_range", 0.02);
    boolean("tie_word_embeddings", false);
    boolean("attention_bias", family.qkv_bias);
    config_["qk_norm"] = family.qk_norm;
    return std::move(config_);
  }

 private:
  // A key that is null is one that is missing.
  const json* find(const char* key) const {
    const auto found = config_.find(key);
    return found == config_.end() || found->is_null() ? nullptr : &*found;
  }

  const Family& family_of() const {
    const json* type = find("model_type");
    if (type)
      for (const Family& family : families)
        if (*type == family.model_type) return family;
    throw input_error("{}: model_type is {}; expected llama, qwen2 or qwen3; choose a model of these families", path_,
                      type ? excerpt(*type) : "missing");
  }

  void check_windows() const {
    const json* types = find("layer_types");
    if (!types) return;
    bool full = types->is_array();
    if (full)
      for (const json& type : *types) full = full && type == "full_attention";
    if (!full)
      throw input_error(
          "{}: layer_types is {}; expected \"full_attention\" for every layer: attention over a window is not "
          "implemented; choose another model",
          path_, excerpt(*types));
  }

  // Older files have rope_theta and rope_scaling {"type" or "rope_type": ...}; newer ones put both into
  // rope_parameters.
  void check_rope() {
    for (const char* key : {"rope_scaling", "rope_parameters"}) {
      const json* rope = find(key);
      if (!rope) continue;
      bool is_default = rope->is_object();
      if (is_default)
        for (const auto& [name, value] : rope->items()) {
          const bool type = name == "rope_type" || name == "type";
          const bool factor = name == "partial_rotary_factor" || name == "factor";
          is_default = is_default && (type     ? value == "default"
                                      : factor ? value.is_null() || value == 1.0
                                               : name == "rope_theta");
        }
      if (!is_default)
        throw input_error(
            "{}: {} is {}; expected null or the type \"default\": scaled rotary embedding is not implemented; "
            "choose another model",
            path_, key, excerpt(*rope));
      if (const auto theta = rope->find("rope_theta"); theta != rope->end() && !theta->is_null()) {
        if (const json* outer = find("rope_theta"); outer && *outer != *theta)
          throw input_error("{}: rope_theta is {}, but {}.rope_theta is {}; expected the same; correct one of them",
                            path_, excerpt(*outer), key, excerpt(*theta));
        config_["rope_theta"] = json(*theta);
      }
    }
  }

  // `absent` is what a missing key means; 0: the key is needed.
  std::int64_t whole_number(const char* key, std::int64_t most, std::int64_t absent) {
    const json* value = find(key);
    if (!value && absent > 0) return (config_[key] = absent).get<std::int64_t>();
    const auto number = value ? json_count(*value) : std::nullopt;
    if (!number || *number < 1 || *number > most)
      throw input_error("{}: {} is {}; expected a whole number from 1 to {}; correct it", path_, key,
                        value ? excerpt(*value) : "missing", most);
    return *number;
  }

  void real_number(const char* key, double absent) {
    const json* value = find(key);
    if (!value) {
      config_[key] = absent;
      return;
    }
    if (!value->is_number() || !(value->get<double>() > 0))
      throw input_error("{}: {} is {}; expected a number above 0; correct it", path_, key, excerpt(*value));
    config_[key] = value->get<double>();
  }

  void boolean(const char* key, bool absent) {
    const json* value = find(key);
    if (value && !value->is_boolean())
      throw input_error("{}: {} is {}; expected true or false; correct it", path_, key, excerpt(*value));
    if (!value) config_[key] = absent;
  }

  json config_;
  std::string path_;
};

}  // namespace

json parse_hf_config(std::string_view text, std::string_view path) {
  json config = parse_strict_json(text, path);
  if (!config.is_object())
    throw input_error("{}: is {}; expected an object of a model's settings; check the path", path, excerpt(config));
  return ConfigReader(std::move(config), path).finish();
}

}  // namespace bittern
