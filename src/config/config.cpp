// RunConfig from JSON: documents are checked one by one (document.h), laid over each other, read into the fields of the
// table, completed and checked against each other (checks.h).
#include "bittern/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bittern/error.h"
#include "config/checks.h"
#include "config/document.h"
#include "config/table.h"

namespace bittern {
namespace {

using nlohmann::json;

// The value at a dotted path, or nullptr.
const json* find_path(const json& root, std::string_view path) {
  const json* place = &root;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('.'), path.size());
    const auto found = place->find(std::string(path.substr(0, end)));
    if (found == place->end()) return nullptr;
    place = &*found;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return place;
}

RunConfig finish(config::Document&& document, const std::string& file, std::span<const std::string> settings) {
  const std::string origin = settings.empty() ? file : file + " with --set";
  for (const std::string& setting : settings) document.lay_over(config::document_from_setting(setting));
  RunConfig result;
  for (const config::Key& key : config::keys())
    if (const json* value = find_path(document.value, key.path); value && !key.group)
      config::read_value(key, *value, {origin}, result);
  config::complete_and_check(result, document.value, origin);
  result.ignored_keys = std::move(document.ignored);
  return result;
}

}  // namespace

RunConfig load_config(const std::string& file, std::span<const std::string> settings) {
  return finish(config::load_document(file), file, settings);
}

ModelSpec parse_model(std::string_view text, const std::string& origin) {
  std::vector<std::string> ignored;
  const json model = config::model_from_text(text, origin, ignored);
  const config::Origin file{origin, config::hidden_prefix};
  RunConfig result;
  for (const config::Key& key : config::keys()) {
    if (!key.path.starts_with("model.")) continue;
    if (const json* value = find_path(model, std::string_view(key.path).substr(config::hidden_prefix)))
      config::read_value(key, *value, file, result);
  }
  config::complete_model(result.model, model, file);
  return result.model;
}

std::string_view model_class_name(std::string_view architecture) {
  return std::ranges::find(config::architectures(), architecture, &config::Architecture::name)->class_name;
}

RunConfig parse_config(std::string_view text, const std::string& origin, std::span<const std::string> settings) {
  return finish(config::document_from_text(text, origin), origin, settings);
}

}  // namespace bittern
