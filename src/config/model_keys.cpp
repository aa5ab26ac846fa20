// The model section in Hugging Face's words, pasted or named by path, brought into the table's.
#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/strict_json.h"
#include "config/document.h"
#include "config/json_text.h"

namespace bittern::config {
namespace {

using nlohmann::json;

constexpr const char* remedy = "remove it, or choose another model";

// What a whole config.json has to say, as no default of ours is its model's.
constexpr std::array<const char*, 5> needed = {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                                               "num_attention_heads"};

/// What the MLP of this family computes here.
std::string_view activation_of(const Architecture& family) {
  return family.gemma ? "gelu_pytorch_tanh" : "silu";
}

class Translator {
 public:
  Translator(json& model, const Origin& origin, std::vector<std::string>& ignored)
      : model_(model), origin_(origin), ignored_(ignored) {}

  void translate() {
    take_text_model();
    name_architecture();
    take_activation();
    take_rope_of_layers();
    take_rope("rope_scaling");
    take_rope("rope_parameters");
    take_windows();
    take_codes();
    for (const char* key : {"num_key_value_heads", "head_dim"})  // null: follows from the others
      if (const auto found = model_.find(key); found != model_.end() && found->is_null()) model_.erase(found);
    if (const auto scaling = model_.find("rope_scaling"); scaling != model_.end() && scaling->is_null())
      take("rope_scaling");
    for (const char* key : {"sliding_window", "attn_logit_softcapping", "final_logit_softcapping"})  // null: none
      if (const auto found = model_.find(key); found != model_.end() && found->is_null()) *found = 0;
    for (const ModelExtra& extra : model_extras()) {
      const auto found = model_.find(extra.name);
      if (found == model_.end()) continue;
      if (!extra.allowed.empty() && !allowed(extra.allowed, *found))
        throw refusal(extra.name, *found, written(extra.allowed), extra.reason);
      take(extra.name);
    }
  }

  // Gemma 3 with images: the language model stands in text_config, with the keys alone that differ from its class's.
  void take_text_model() {
    const auto type = model_.find("model_type");
    if (type == model_.end() || *type != "gemma3") return;
    const auto text = model_.find("text_config");
    if (text == model_.end() || !text->is_object())
      throw input_error("{}: {} is {}; expected the object of its language model; choose another file", origin_.name,
                        path("text_config"), text == model_.end() ? "missing" : excerpt(*text));
    json taken = std::move(*text);
    if (taken.value("model_type", "gemma3_text") != "gemma3_text")
      throw input_error("{}: {} is {}; expected \"gemma3_text\"; choose a model of another family", origin_.name,
                        path("text_config.model_type"), excerpt(taken["model_type"]));
    for (const auto& [key, value] : model_.items())
      if (key != "text_config" && key != "model_type" && key != "architectures") ignored_.push_back("model." + key);
    const json of_class = {{"model_type", "gemma3_text"}, {"vocab_size", 262208}, {"num_attention_heads", 8},
                           {"num_key_value_heads", 4},    {"head_dim", 256},      {"max_position_embeddings", 131072},
                           {"query_pre_attn_scalar", 256}};
    for (const auto& [key, value] : of_class.items())
      if (!taken.contains(key)) taken[key] = value;
    model_ = std::move(taken);
  }

 private:
  std::string path(std::string_view name) const { return origin_.path("model." + std::string(name)); }

  Error refusal(std::string_view name, const json& value, std::string_view allowed, std::string_view reason) const {
    return input_error("{}: {} is {}; expected {}: {}; {}", origin_.name, path(name), excerpt(value), allowed, reason,
                       remedy);
  }

  static std::string written(std::string_view choices) {
    std::string text;
    for (const char c : choices) text += c == ' ' ? std::string(" or ") : std::string(1, c);
    return text;
  }

  static bool allowed(std::string_view choices, const json& value) {
    while (!choices.empty()) {
      const std::size_t end = std::min(choices.find(' '), choices.size());
      if (json::parse(choices.substr(0, end)) == value) return true;  // 0 == 0.0, and false is no number
      choices.remove_prefix(std::min(end + 1, choices.size()));
    }
    return false;
  }

  void take(std::string_view name) {
    ignored_.push_back("model." + std::string(name));
    model_.erase(std::string(name));
  }

  // model_type and architectures say the architecture; what says it twice must say the same.
  void name_architecture() {
    std::string from, name;
    const auto says = [&](const char* key, const std::string& architecture) {
      if (!from.empty() && name != architecture)
        throw input_error("{}: {} means {}, but {} means {}; correct one of them", origin_.name, path(from), name,
                          path(key), architecture);
      from = key;
      name = architecture;
    };
    const auto named = [](std::string_view text, std::string_view Architecture::*column) {
      const auto found = std::ranges::find(architectures(), text, column);
      return found == architectures().end() ? std::string() : std::string(found->name);
    };
    std::vector<std::string_view> names, classes;
    for (const Architecture& row : architectures()) {
      names.push_back(row.name);
      classes.push_back(row.class_name);
    }
    if (const auto own = model_.find("architecture"); own != model_.end() && own->is_string())
      says("architecture", own->get<std::string>());
    if (const auto type = model_.find("model_type"); type != model_.end()) {
      const std::string known =
          type->is_string() ? named(type->get_ref<const std::string&>(), &Architecture::name) : "";
      if (known.empty())
        throw input_error("{}: {} is {}; expected one of {}; choose a model of these families", origin_.name,
                          path("model_type"), excerpt(*type), joined(names, ", "));
      says("model_type", known);
    }
    if (const auto list = model_.find("architectures"); list != model_.end()) {
      const bool one = list->is_array() && list->size() == 1 && (*list)[0].is_string();
      const std::string known = one ? named((*list)[0].get_ref<const std::string&>(), &Architecture::class_name) : "";
      if (known.empty())
        throw input_error("{}: {} is {}; expected an array with one of {}; choose a model of these families",
                          origin_.name, path("architectures"), excerpt(*list), joined(classes, ", "));
      says("architectures", known);
    }
    if (!name.empty()) model_["architecture"] = name;
    model_.erase("model_type");
    model_.erase("architectures");
  }

  const Architecture* architecture() const {
    const auto name = model_.find("architecture");
    if (name == model_.end() || !name->is_string()) return nullptr;
    const auto row = std::ranges::find(architectures(), name->get_ref<const std::string&>(), &Architecture::name);
    return row == architectures().end() ? nullptr : &*row;
  }

  // The activation follows from the family; files name it, under one of two keys or both.
  void take_activation() {
    const Architecture* const family = architecture();
    const bool gemma = family && family->gemma;
    const std::string_view wanted = family ? activation_of(*family) : "silu";
    for (const char* key : {"hidden_act", "hidden_activation"}) {
      const auto found = model_.find(key);
      if (found == model_.end()) continue;
      const bool by_default = found->is_null() && (gemma || std::string_view(key) == "hidden_activation");
      if (!by_default && *found != wanted)
        throw refusal(key, *found, fmt::format("\"{}\"", wanted),
                      gemma ? "it is the activation of Gemma's MLP" : "the MLP is SwiGLU, whose activation is silu");
      take(key);
    }
  }

  // Gemma 3 in transformers 5: the rotary embedding of layers of either kind. Those that slide are never scaled.
  void take_rope_of_layers() {
    const auto found = model_.find("rope_parameters");
    if (found == model_.end() || !found->is_object() || !found->contains("full_attention")) return;
    const json sliding = found->value("sliding_attention", json::object());
    if (!sliding.is_object() || sliding.value("rope_type", json("default")) != "default")
      throw refusal("rope_parameters.sliding_attention", sliding, "an object with rope_type \"default\"",
                    "layers with a window are not scaled");
    if (const auto theta = sliding.find("rope_theta"); theta != sliding.end()) {
      if (const auto outer = model_.find("rope_local_base_freq"); outer != model_.end() && *outer != *theta)
        throw input_error("{}: {} is {}, but {} is {}; correct one of them", origin_.name, path("rope_local_base_freq"),
                          excerpt(*outer), path("rope_parameters.sliding_attention.rope_theta"), excerpt(*theta));
      model_["rope_local_base_freq"] = *theta;
    }
    json full = (*found)["full_attention"];
    model_["rope_parameters"] = std::move(full);
  }

  // rope_scaling (transformers 4) and rope_parameters (5, which holds rope_theta too) become our rope_scaling and
  // rope_theta. Kinds of scaling that are not implemented are refused.
  void take_rope(const char* key) {
    const auto found = model_.find(key);
    if (found == model_.end() || !found->is_object()) return;
    json rope = *found;
    if (const auto type = rope.find("type"); type != rope.end()) {  // its older name
      if (rope.contains("rope_type") && rope["rope_type"] != *type)
        throw input_error("{}: {}.rope_type is {}, but {}.type is {}; correct one of them", origin_.name, path(key),
                          excerpt(rope["rope_type"]), path(key), excerpt(*type));
      rope["rope_type"] = *type;
      rope.erase("type");
    }
    if (const auto type = rope.find("rope_type");
        type != rope.end() &&
        (!type->is_string() || std::ranges::find(rope_type_names, type->get<std::string>()) == rope_type_names.end()))
      throw refusal(std::string(key) + ".rope_type", *type, "\"default\", \"llama3\" or \"linear\"",
                    "other kinds of scaled rotary embedding are not implemented");
    const bool llama3 = rope.value("rope_type", json()) == "llama3",
               linear = rope.value("rope_type", json()) == "linear";
    for (const char* inert : {"partial_rotary_factor", llama3 || linear ? "partial_rotary_factor" : "factor"})
      if (const auto value = rope.find(inert); value != rope.end() && (*value == 1 || value->is_null()))
        rope.erase(value);
    if (const auto part = rope.find("partial_rotary_factor"); part != rope.end())
      throw refusal(std::string(key) + ".partial_rotary_factor", *part, "1 or null",
                    "rotation of a part of each head is not implemented");
    if (const auto theta = rope.find("rope_theta"); theta != rope.end()) {
      if (const auto outer = model_.find("rope_theta"); outer != model_.end() && *outer != *theta)
        throw input_error("{}: {} is {}, but {}.rope_theta is {}; correct one of them", origin_.name,
                          path("rope_theta"), excerpt(*outer), path(key), excerpt(*theta));
      model_["rope_theta"] = *theta;
      rope.erase("rope_theta");
    }
    if (llama3)
      for (const char* number : {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"})
        if (!rope.contains(number))
          throw input_error("{}: {} is not given; rope_type llama3 needs it; add it", origin_.name,
                            path(std::string(key) + "." + number));
    if (linear && !rope.contains("factor"))
      throw input_error("{}: {} is not given; rope_type linear needs it; add it", origin_.name,
                        path(std::string(key) + ".factor"));
    model_.erase(key);
    if (rope.empty() || rope == json{{"rope_type", "default"}})
      ignored_.push_back("model." + std::string(key));
    else
      model_["rope_scaling"] = std::move(rope);
  }

  // Qwen's files name a window and then say that it is not used. Which layers slide is said by a list, or by a number
  // that transformers has written under two names.
  void take_windows() {
    const auto used = model_.find("use_sliding_window");
    if (used != model_.end() && *used == false && model_.contains("sliding_window")) take("sliding_window");
    const bool listed = model_.contains("layer_types") && model_["layer_types"].is_array();
    if (listed && model_.contains("_sliding_window_pattern"))
      take("_sliding_window_pattern");  // its class's, whatever the list
    if (const auto hidden = model_.find("_sliding_window_pattern"); hidden != model_.end()) {
      if (const auto plain = model_.find("sliding_window_pattern"); plain != model_.end() && *plain != *hidden)
        throw input_error("{}: {} is {}, but {} is {}; correct one of them", origin_.name,
                          path("sliding_window_pattern"), excerpt(*plain), path("_sliding_window_pattern"),
                          excerpt(*hidden));
      model_["sliding_window_pattern"] = *hidden;
      model_.erase("_sliding_window_pattern");
    }
    if (listed) take_layer_types(json(model_["layer_types"]));
  }

  // The list becomes sliding_window_pattern. Where no layer slides there is no window.
  void take_layer_types(const json& types) {
    constexpr const char *full = "full_attention", *slides = "sliding_attention";
    if (!std::ranges::all_of(types, [&](const json& type) { return type == full || type == slides; }))
      throw refusal("layer_types", types, "\"full_attention\" or \"sliding_attention\" for every layer",
                    "other kinds of layers are not implemented");
    const std::size_t layers = types.size();
    std::size_t first_full = 0;
    while (first_full < layers && types[first_full] == slides) ++first_full;
    if (std::ranges::all_of(types, [&](const json& type) { return type == full; })) {
      model_["sliding_window"] = 0;
      return take("layer_types");
    }
    const auto follows = [&](std::size_t pattern) {
      for (std::size_t layer = 0; layer < layers; ++layer)
        if ((pattern == 0 || (layer + 1) % pattern != 0) != (types[layer] == slides)) return false;
      return true;
    };
    const auto said = model_.find("sliding_window_pattern");
    const std::optional<std::int64_t> pattern = said == model_.end() ? std::nullopt : json_count(*said);
    if (pattern && !follows(static_cast<std::size_t>(*pattern)))
      throw input_error("{}: {} is {}, which is not what {} says of every layer; correct one of them", origin_.name,
                        path("sliding_window_pattern"), *pattern, path("layer_types"));
    const Architecture* const family = architecture();
    const bool as_family = family && follows(static_cast<std::size_t>(family->sliding_window_pattern));
    const std::size_t period = first_full < layers ? first_full + 1 : 0;
    if (!pattern && !as_family) {
      if (!follows(period))
        throw refusal("layer_types", types, "every so many layers one \"full_attention\", the others sliding",
                      "other orders of layers are not implemented");
      model_["sliding_window_pattern"] = period;
    }
    take("layer_types");
  }

  // What bittern says of a checkpoint's codes is said of the weights (store/quantization_config.h), not of the model.
  void take_codes() {
    const auto found = model_.find("quantization_config");
    if (found != model_.end() && found->is_object() && found->value("format", json()) == "bittern")
      take("quantization_config");
  }

  json& model_;
  const Origin& origin_;
  std::vector<std::string>& ignored_;
};

}  // namespace

json model_from_text(std::string_view text, const std::string& file, std::vector<std::string>& ignored) {
  json model = parse_json_text(text, file);
  const Origin origin{file, hidden_prefix};
  if (!model.is_object())
    throw input_error("{}: is {}; expected the object of a Hugging Face config.json; check the path", file,
                      excerpt(model));
  Translator translator(model, origin, ignored);
  translator.take_text_model();
  for (const char* key : needed)
    if (!model.contains(key))
      throw input_error("{}: has no {}; expected a Hugging Face config.json of a {}; check the path", file, key,
                        joined(architecture_names(), ", "));
  const bool names_activation = model.contains("hidden_act") || model.contains("hidden_activation");
  const bool names_key_value_heads = model.contains("num_key_value_heads");  // null: as many as query heads
  translator.translate();
  check_members(model, "model", origin);
  if (!model.contains("architecture"))
    throw input_error("{}: has no model_type; expected a Hugging Face config.json of a {}; check the path", file,
                      joined(architecture_names(), ", "));
  if (model["vocab_size"] == 0)
    throw input_error("{}: vocab_size is 0; expected the size of the model's vocabulary; correct it", file);
  const auto& architecture =
      *std::ranges::find(architectures(), model["architecture"].get<std::string>(), &Architecture::name);
  if (!names_activation && architecture.hidden_act != activation_of(architecture))
    throw input_error("{}: has no hidden_act, which for {} means {}; expected \"silu\": the MLP is SwiGLU; {}", file,
                      architecture.name, architecture.hidden_act, remedy);
  if (!model.contains("rms_norm_eps")) model["rms_norm_eps"] = architecture.rms_norm_eps;
  if (!model.contains("rope_theta")) model["rope_theta"] = architecture.rope_theta;
  if (!model.contains("head_dim") && architecture.head_dim != 0) model["head_dim"] = architecture.head_dim;
  if (architecture.num_key_value_heads != 0 && !names_key_value_heads)
    model["num_key_value_heads"] = architecture.num_key_value_heads;
  if (!model.contains("sliding_window") && architecture.sliding_window != 0)
    model["sliding_window"] = architecture.sliding_window;
  if (architecture.gemma && !model.contains("query_pre_attn_scalar")) model["query_pre_attn_scalar"] = 256;
  if (architecture.max_position_embeddings != 0 && !model.contains("max_position_embeddings"))
    model["max_position_embeddings"] = architecture.max_position_embeddings;
  return model;
}

void translate_model(Document& document, const Origin& origin, const std::string& folder) {
  const auto model = document.value.find("model");
  if (model == document.value.end()) return;
  if (model->is_string()) *model = {{"from", *model}};
  if (!model->is_object()) return;  // check_members says what is expected

  json base = json::object();
  if (const auto from = model->find("from"); from != model->end()) {
    if (!from->is_string() || from->get_ref<const std::string&>().empty())
      throw input_error("{}: model.from is {}; expected the path of a Hugging Face config.json", origin.name,
                        excerpt(*from));
    const std::filesystem::path path = std::filesystem::path(folder) / from->get<std::string>();
    const std::string file = path.lexically_normal().string();
    base = model_from_text(read_named_file(file, "a model's config.json", origin.name + ": model.from"), file,
                           document.ignored);
    model->erase("from");
    document.replaces_model = true;
  }
  Translator(*model, origin, document.ignored).translate();
  check_members(*model, "model", origin);
  base.update(*model);
  *model = std::move(base);
}

}  // namespace bittern::config
