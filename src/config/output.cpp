// What the table says to others: the effective config, the JSON Schema, the reference page, and the verdict on a
// resume.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "bittern/config.h"
#include "bittern/error.h"
#include "config/table.h"

namespace bittern {
namespace {

using config::Field;
using config::Key;
using config::Resume;
using nlohmann::ordered_json;

// The member at a dotted path, made where it is not there yet.
ordered_json& at(ordered_json& root, std::string_view path) {
  ordered_json* place = &root;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('.'), path.size());
    place = &(*place)[std::string(path.substr(0, end))];
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return *place;
}

ordered_json value_of(const Key& key, const RunConfig& config) {
  const auto write = [&](auto* value) -> ordered_json {
    using T = std::remove_pointer_t<decltype(value)>;
    if constexpr (std::is_same_v<T, bool>)
      return *value;
    else if constexpr (std::is_same_v<T, DType>)
      return name(*value);
    else if constexpr (std::is_same_v<T, std::uint8_t>)
      return key.names[static_cast<std::size_t>(*value)];
    else
      return *value;
  };
  const Field where = field(key, config);
  if (const auto* pair = std::get_if<std::array<double*, 2>>(&where)) return {*(*pair)[0], *(*pair)[1]};
  return std::visit(
      [&](auto field_value) -> ordered_json {
        if constexpr (std::is_pointer_v<decltype(field_value)>)
          return write(field_value);
        else
          return nullptr;
      },
      where);
}

std::string default_text(const Key& key) {
  if (!key.derived.empty()) return std::string(key.derived);
  return "`" + value_of(key, RunConfig{}).dump() + "`";
}

std::string_view resume_text(Resume resume) {
  switch (resume) {
    case Resume::tensors:
      return "other tensors";
    case Resume::identity:
      return "another run";
    case Resume::rates:
      return "by the rates";
    case Resume::notice:
      return "may change";
    case Resume::silent:
      return "free";
  }
  return "";
}

ordered_json schema_of(const Key& key) {
  ordered_json schema;
  const Field where = field(key, RunConfig{});
  const config::Range& range = key.range;
  const auto bounds = [&](ordered_json& number, bool whole) {
    const auto bound = [&](double value) {
      return whole ? ordered_json(static_cast<std::int64_t>(value)) : ordered_json(value);
    };
    number[range.open_least ? "exclusiveMinimum" : "minimum"] = bound(range.least);
    number[range.open_most ? "exclusiveMaximum" : "maximum"] = bound(range.most);
  };
  if (!key.names.empty()) {
    schema["enum"] = key.names;
  } else if (std::holds_alternative<std::int64_t*>(where)) {
    schema["type"] = "integer";
    bounds(schema, true);
  } else if (std::holds_alternative<double*>(where)) {
    schema["type"] = "number";
    bounds(schema, false);
  } else if (std::holds_alternative<bool*>(where)) {
    schema["type"] = "boolean";
  } else if (std::holds_alternative<std::string*>(where)) {
    schema["type"] = "string";
    schema["minLength"] = static_cast<std::int64_t>(range.least);
    schema["maxLength"] = static_cast<std::int64_t>(range.most);
  } else {
    ordered_json number = {{"type", "number"}};
    bounds(number, false);
    schema["type"] = "array";
    schema["items"] = number;
    schema["minItems"] = schema["maxItems"] = 2;
  }
  schema["description"] = key.meaning;
  if (key.derived.empty() && !key.group) schema["default"] = value_of(key, RunConfig{});
  return schema;
}

ordered_json object_schema(std::string_view section) {
  ordered_json schema = {{"type", "object"}, {"additionalProperties", false}, {"properties", ordered_json::object()}};
  if (!section.empty()) schema["description"] = config::section_meaning(section);
  ordered_json& properties = schema["properties"];
  for (const std::string& member : config::members(section)) {
    const std::string path = section.empty() ? member : fmt::format("{}.{}", section, member);
    const Key* key = config::find_key(path);
    properties[member] = key ? schema_of(*key) : object_schema(path);
  }
  return schema;
}

}  // namespace

std::string config_json(const RunConfig& config) {
  ordered_json root;
  for (const Key& key : config::keys())
    if (!key.group) at(root, key.path) = value_of(key, config);
  return root.dump(2) + "\n";
}

std::string config_schema() {
  ordered_json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                       {"title", "bittern: the config of a run"}};
  root.update(object_schema(""));
  ordered_json& properties = root["properties"];
  properties["$schema"] = {{"type", "string"}, {"description", "This schema, for editors."}};
  properties["extends"] = {
      {"type", {"string", "array"}},
      {"items", {{"type", "string"}}},
      {"description",
       "A config, relative to this file, whose keys hold where this one has none; or several, the later over the "
       "earlier."}};
  ordered_json& model = properties["model"];
  ordered_json& members = model["properties"];
  members["from"] = {{"type", "string"}, {"description", "A Hugging Face config.json, relative to this file."}};
  for (const char* key : {"num_key_value_heads", "head_dim", "sliding_window"})
    members[key]["type"] = {"integer", "null"};
  members["rope_scaling"]["type"] = {"object", "null"};
  for (const config::ModelExtra& extra : config::model_extras())
    members[std::string(extra.name)] = {{"description", extra.allowed.empty()
                                                            ? std::string("Hugging Face's; changes nothing here.")
                                                            : fmt::format("Hugging Face's; {}.", extra.reason)}};
  model = {{"anyOf",
            {{{"type", "string"}, {"description", "The path of a Hugging Face config.json."}}, ordered_json(model)}}};
  return root.dump(2) + "\n";
}

std::string config_reference() {
  std::string page =
      "# Config reference\n\n"
      "Made by `bittern config --reference` from the table that also makes the parser; `bittern config --schema` is "
      "the same\n"
      "for editors.\n\n"
      "A config is one JSON object. `\"extends\": \"base.json\"` names a config, relative to the file that says so, "
      "whose keys\n"
      "hold where this one has none; a list of such names lays each over the ones before it. Objects are merged, "
      "everything\n"
      "else is replaced, and `--set path.to.key=value` comes last. `data.path` and `data.valid_path` are relative to "
      "the folder in which bittern runs. An interval of 0 "
      "means never.\n\n"
      "The last column says what a changed value means when a run is resumed:\n\n"
      "* **other tensors**: refused; a new run can begin from the weights alone (`--init`).\n"
      "* **another run**: refused; a new run can begin from a checkpoint with its moments and step (`--fork`).\n"
      "* **by the rates**: goes on and says so while the learning rates and decays of the steps already made are the "
      "same\n"
      "  under both values; else it is another run.\n"
      "* **may change**: goes on and says so.\n"
      "* **free**: changes nothing that is computed.\n";
  for (const std::string& section : config::sections()) {
    std::string rows;
    for (const std::string& member : config::members(section)) {
      const Key* key = config::find_key(section + "." + member);
      if (!key) continue;
      rows += fmt::format("| `{}` | {} | {} | {} | {} |\n", member, config::expected(*key),
                          key->group ? "" : default_text(*key), key->meaning, resume_text(key->resume));
    }
    page += fmt::format("\n## {}\n\n{}\n", section, config::section_meaning(section));
    if (!rows.empty()) page += "\n| key | value | default | meaning | when resumed |\n|---|---|---|---|---|\n" + rows;
  }
  page +=
      "\n## Keys of Hugging Face that are accepted\n\n`from`, and in a pasted or named model also:\n\n| key | value | "
      "else |\n|---|---|---|\n";
  for (const config::ModelExtra& extra : config::model_extras()) {
    std::string choices;
    for (const char c : extra.allowed) choices += c == ' ' ? std::string(" or ") : std::string(1, c);
    page += fmt::format("| `{}` | {} | {} |\n", extra.name, choices.empty() ? "any" : "`" + choices + "`",
                        extra.reason.empty() ? "" : "refused: " + std::string(extra.reason));
  }
  return page;
}

void settle_residual_init(RunConfig& config, const RunConfig* before) {
  if (config.model.residual_init == ResidualInit::automatic)
    config.model.residual_init = before ? before->model.residual_init : residual_init_of_a_new_run;
}

ConfigChange compare_configs(const RunConfig& before, const RunConfig& after, bool rates_stay) {
  ConfigChange change;
  for (const Key& key : config::keys()) {
    if (key.group) continue;
    const ordered_json was = value_of(key, before), is = value_of(key, after);
    if (was == is || key.resume == Resume::silent) continue;
    const bool another_run = key.resume == Resume::identity || (key.resume == Resume::rates && !rates_stay);
    std::vector<std::string>& list =
        key.resume == Resume::tensors ? change.tensors : (another_run ? change.run : change.notice);
    list.push_back(fmt::format("{}: {} -> {}", key.path, was.dump(), is.dump()));
  }
  return change;
}

}  // namespace bittern
