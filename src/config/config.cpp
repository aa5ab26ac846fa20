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

RunConfig parse_config(std::string_view text, const std::string& origin, std::span<const std::string> settings) {
  return finish(config::document_from_text(text, origin), origin, settings);
}

}  // namespace bittern
