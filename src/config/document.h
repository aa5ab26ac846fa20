// A document: one config file (or one --set) as JSON in which every key is a key of the table with a value that it
// allows. Documents are checked one by one, so that a message names the file to mend; then later ones are laid over
// earlier ones.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "config/table.h"

namespace bittern::config {

/// What messages call the place that a value came from.
struct Origin {
  std::string name;      ///< a file, or "--set"
  std::size_t hide = 0;  ///< so many bytes of every path are not in that file ("model." in a Hugging Face config)

  std::string path(std::string_view full) const { return std::string(full.substr(full.size() < hide ? 0 : hide)); }
};

/// Origin::hide of a config.json, whose keys are those of our model section.
inline constexpr std::size_t hidden_prefix = std::string_view("model.").size();

struct Document {
  nlohmann::json value = nlohmann::json::object();
  bool replaces_model = false;       ///< names a model file: nothing of an earlier model section stays
  std::vector<std::string> ignored;  ///< paths of Hugging Face keys that change nothing here

  void lay_over(Document&& later);
};

/// A file with everything that it extends.
Document load_document(const std::string& file);
Document document_from_text(std::string_view text, const std::string& origin);
/// "path.to.key=value", as --set takes it.
Document document_from_setting(const std::string& setting);

// What documents are made with.

/// Reads `value` into the key's field; throws with the path, the value, what is allowed and the nearest name.
void read_value(const Key& key, const nlohmann::json& value, const Origin& origin, RunConfig& config);
/// Throws for the first key that is not in the table or whose value is not allowed.
void check_members(const nlohmann::json& object, const std::string& section, const Origin& origin);
/// The name in `names` that was most likely meant, or "".
std::string nearest_name(std::string_view name, const std::vector<std::string>& names);

/// The text of a file that another one names; the message says where it is named.
std::string read_named_file(const std::string& file, std::string_view what, const std::string& named_by);

/// The whole model that the text of a Hugging Face config.json describes, in the table's words: what it leaves out has
/// transformers' default, where that is not ours.
nlohmann::json model_from_text(std::string_view text, const std::string& file, std::vector<std::string>& ignored);

/// Brings `root["model"]` into the table's words: reads the file it names (relative to `folder`), translates what
/// Hugging Face calls otherwise, takes out what changes nothing, and refuses what cannot be honoured.
void translate_model(Document& document, const Origin& origin, const std::string& folder);

}  // namespace bittern::config
