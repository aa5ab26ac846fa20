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

class Translator {
 public:
  Translator(json& model, const Origin& origin, std::vector<std::string>& ignored)
      : model_(model), origin_(origin), ignored_(ignored) {}

  void translate() {
    name_architecture();
    take_rope("rope_scaling");
    take_rope("rope_parameters");
    take_windows();
    take_codes();
    for (const char* key : {"num_key_value_heads", "head_dim"})  // null: follows from the others
      if (const auto found = model_.find(key); found != model_.end() && found->is_null()) model_.erase(found);
    if (const auto scaling = model_.find("rope_scaling"); scaling != model_.end() && scaling->is_null())
      take("rope_scaling");
    if (const auto window = model_.find("sliding_window"); window != model_.end() && window->is_null()) *window = 0;
    for (const ModelExtra& extra : model_extras()) {
      const auto found = model_.find(extra.name);
      if (found == model_.end()) continue;
      if (!extra.allowed.empty() && !allowed(extra.allowed, *found))
        throw refusal(extra.name, *found, written(extra.allowed), extra.reason);
      take(extra.name);
    }
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

  // rope_scaling (transformers 4) and rope_parameters (5, which holds rope_theta too) become our rope_scaling and
  // rope_theta. Kinds of scaling other than llama3 are refused.
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
      throw refusal(std::string(key) + ".rope_type", *type, "\"default\" or \"llama3\"",
                    "other kinds of scaled rotary embedding are not implemented");
    const bool llama3 = rope.value("rope_type", json()) == "llama3";
    for (const char* inert : {"partial_rotary_factor", llama3 ? "partial_rotary_factor" : "factor"})
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
    model_.erase(key);
    if (rope.empty() || rope == json{{"rope_type", "default"}})
      ignored_.push_back("model." + std::string(key));
    else
      model_["rope_scaling"] = std::move(rope);
  }

  // Qwen's files name a window and then say that it is not used.
  void take_windows() {
    const auto used = model_.find("use_sliding_window");
    if (used != model_.end() && *used == false && model_.contains("sliding_window")) take("sliding_window");
    const auto types = model_.find("layer_types");
    if (types == model_.end() || !types->is_array()) return;
    if (!std::ranges::all_of(*types, [](const json& type) { return type == "full_attention"; }))
      throw refusal("layer_types", *types, "\"full_attention\" for every layer",
                    "attention over a window is not implemented");
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
  for (const char* key : needed)
    if (!model.contains(key))
      throw input_error("{}: has no {}; expected a Hugging Face config.json of a {}; check the path", file, key,
                        joined(architecture_names(), ", "));
  const bool names_activation = model.contains("hidden_act");
  const bool names_key_value_heads = model.contains("num_key_value_heads");  // null: as many as query heads
  Translator(model, origin, ignored).translate();
  check_members(model, "model", origin);
  if (!model.contains("architecture"))
    throw input_error("{}: has no model_type; expected a Hugging Face config.json of a {}; check the path", file,
                      joined(architecture_names(), ", "));
  if (model["vocab_size"] == 0)
    throw input_error("{}: vocab_size is 0; expected the size of the model's vocabulary; correct it", file);
  const auto& architecture =
      *std::ranges::find(architectures(), model["architecture"].get<std::string>(), &Architecture::name);
  if (!names_activation && architecture.hidden_act != "silu")
    throw input_error("{}: has no hidden_act, which for {} means {}; expected \"silu\": the MLP is SwiGLU; {}", file,
                      architecture.name, architecture.hidden_act, remedy);
  if (!model.contains("rms_norm_eps")) model["rms_norm_eps"] = architecture.rms_norm_eps;
  if (!model.contains("rope_theta")) model["rope_theta"] = architecture.rope_theta;
  if (!model.contains("head_dim") && architecture.head_dim != 0) model["head_dim"] = architecture.head_dim;
  if (architecture.num_key_value_heads != 0 && !names_key_value_heads)
    model["num_key_value_heads"] = architecture.num_key_value_heads;
  if (!model.contains("sliding_window") && architecture.sliding_window != 0)
    model["sliding_window"] = architecture.sliding_window;
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
