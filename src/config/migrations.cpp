// The one table of what older configs mean: read when a checkpoint of an older program is opened.
//
// A key needs a row here if programs before it behaved otherwise than its default does, or if its default changes later.
// A row says in which version of the config that happened, and what the program before did. The version is raised with
// the first such row after a release of the config (config_version, bittern/config.h). A key whose default is what
// programs without it did needs none.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "bittern/config.h"

namespace bittern {
namespace {

struct Migration {
  std::int64_t version;    ///< the first one in which the default means something else
  std::string_view key;    ///< its path
  std::string_view value;  ///< what the program before behaved by, as JSON
};

constexpr std::array<Migration, 1> migrations = {{
    {2, "model.residual_init", R"("plain")"},
}};

}  // namespace

std::string migrated_config(const std::string& json, std::int64_t version) {
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(json);
  for (const Migration& row : migrations) {
    if (version >= row.version) continue;
    std::string pointer = "/" + std::string(row.key);
    std::ranges::replace(pointer, '.', '/');
    const nlohmann::ordered_json::json_pointer place(pointer);
    const bool has_section = config.contains(place.parent_pointer()) && config[place.parent_pointer()].is_object();
    if (has_section && !config.contains(place)) config[place] = nlohmann::ordered_json::parse(row.value);
  }
  return config.dump();
}

}  // namespace bittern
