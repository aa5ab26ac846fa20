// Reads one config file, or one --set, into a Document: JSON that holds known keys with allowed values only. Also reads
// the files that it extends, and lays later documents over earlier ones.
#include "config/document.h"

#include <algorithm>
#include <filesystem>

#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/strict_json.h"
#include "config/json_text.h"

namespace bittern::config {
namespace {

using nlohmann::json;

constexpr std::int64_t largest_file = 1 << 20;
constexpr std::size_t longest_chain = 16;
constexpr std::size_t most_files = 64;

void overlay(json& base, json&& later) {
  if (!base.is_object() || !later.is_object()) {
    base = std::move(later);
    return;
  }
  for (auto& [name, value] : later.items()) {
    const auto found = base.find(name);
    if (found == base.end())
      base[name] = std::move(value);
    else
      overlay(*found, std::move(value));
  }
}

// What is said of a group of roles (weights.block_linear) is said of each of them; what the same document says of a role
// itself wins. `section` holds something by role.
void expand_groups(json& section) {
  json groups = json::object();
  for (const RoleInfo& row : role_table) {
    const std::string group(row.group), name(row.name);
    if (const auto found = section.find(group); !group.empty() && found != section.end()) {
      groups[group] = std::move(*found);
      section.erase(found);
    }
    if (!groups.contains(group)) continue;
    json merged = groups[group];
    if (const auto own = section.find(name); own != section.end()) overlay(merged, json(*own));
    section[name] = std::move(merged);
  }
}

// One file by one name, however it is written, so that a chain that bites its tail is seen.
std::string canonical(const std::string& path) {
  std::error_code code;
  const std::filesystem::path found = std::filesystem::weakly_canonical(path, code);
  return code ? path : found.string();
}

void check_document(Document& document, const Origin& origin, const std::string& folder) {
  if (!document.value.is_object())
    throw input_error("{}: is {}; expected an object: {{\"model\": ..., \"data\": ...}}", origin.name,
                      excerpt(document.value));
  document.value.erase("$schema");  // editors complete and check by it
  translate_model(document, origin, folder);
  check_members(document.value, "", origin);
  for (const json::json_pointer& by_role : {json::json_pointer("/weights"), json::json_pointer("/optimizer/states")})
    if (document.value.contains(by_role)) expand_groups(document.value[by_role]);
}

/// The files that are being read, outermost first, and how many were read in all.
struct Chain {
  std::vector<std::string> open;
  std::size_t files = 1;
};

/// Takes what `extends` names out of the document: no file, one, or several.
std::vector<std::string> take_bases(json& root, const std::string& origin) {
  if (!root.is_object() || !root.contains("extends")) return {};
  const json extends = root["extends"];
  root.erase("extends");
  std::vector<std::string> bases;
  for (const json& base : extends.is_array() ? extends : json::array({extends})) {
    if (!base.is_string() || base.get_ref<const std::string&>().empty())
      throw input_error("{}: extends is {}; expected the path of a config, relative to this file, or a list of them",
                        origin, excerpt(extends));
    bases.push_back(base.get<std::string>());
  }
  return bases;
}

Document read_document(std::string_view text, const std::string& origin, Chain& chain) {
  Document document;
  document.value = parse_json_text(text, origin);
  const std::vector<std::string> bases = take_bases(document.value, origin);
  const std::string folder = parent_directory(origin);
  check_document(document, {origin}, folder);

  Document all;
  for (const std::string& base : bases) {
    const std::string file = (std::filesystem::path(folder) / base).lexically_normal().string();
    const std::string name = canonical(file), shown = excerpt(json(base));
    if (std::ranges::find(chain.open, name) != chain.open.end())
      throw input_error("{}: extends is {}, which extends this file in turn ({} -> {}); break the circle", origin,
                        shown, joined(chain.open, " -> "), name);
    if (chain.open.size() >= longest_chain || ++chain.files > most_files)
      throw input_error("{}: extends is {}; expected a chain of at most {} files, and {} in all; merge some of them",
                        origin, shown, longest_chain, most_files);
    chain.open.push_back(name);
    all.lay_over(read_document(read_named_file(file, "a config", origin + ": extends"), file, chain));
    chain.open.pop_back();
  }
  all.lay_over(std::move(document));
  return all;
}

}  // namespace

std::string read_named_file(const std::string& file, std::string_view what, const std::string& named_by) {
  try {
    return read_whole_file(file, largest_file, what);
  } catch (const Error& error) {
    throw Error(error.exit_code(), fmt::format("{} (named by {})", error.what(), named_by));
  }
}

void Document::lay_over(Document&& later) {
  if (later.replaces_model) value.erase("model");
  replaces_model = replaces_model || later.replaces_model;
  overlay(value, std::move(later.value));
  for (std::string& path : later.ignored)
    if (std::ranges::find(ignored, path) == ignored.end()) ignored.push_back(std::move(path));
}

Document load_document(const std::string& file) {
  Chain chain{.open = {canonical(file)}};
  return read_document(read_whole_file(file, largest_file, "a config"), file, chain);
}

Document document_from_text(std::string_view text, const std::string& origin) {
  Chain chain{.open = {canonical(origin)}};
  return read_document(text, origin, chain);
}

Document document_from_setting(const std::string& setting) {
  const Origin origin{"--set"};
  const std::size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0)
    throw input_error("--set {}: expected path.to.key=value, for example train.steps=100", in_quotes(setting));
  const std::string path = setting.substr(0, equals), text = setting.substr(equals + 1);
  if (path == "extends") throw input_error("--set extends={}: a file is extended from a file; write it there", text);

  // A text needs no quotes; for every other key the value is JSON, and a text where it is not (for the message).
  const Key* key = find_key(path);
  const bool takes_text = path == "model" || path == "model.from" ||
                          (key && (!key->names.empty() || std::holds_alternative<std::string*>(field(*key, {}))));
  json value = text;
  if (!takes_text || text.starts_with('"') || (path == "model" && text.starts_with('{'))) {
    try {
      value = parse_json_text(text, "--set " + path);
    } catch (const Error&) {
      if (text.starts_with('"') || text.starts_with('{') || text.starts_with('[')) throw;
    }
  }
  try {
    (void)json(setting).dump();
  } catch (const json::exception&) {
    throw input_error("--set {}: is not UTF-8 text", in_quotes(setting));
  }

  if (std::ranges::count(path, '.') > 8)
    throw input_error("--set {}: is no key; `bittern config --reference` lists all of them", in_quotes(setting));

  Document document;
  json* place = &document.value;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    if (end == begin)
      throw input_error("--set {}: has an empty name in its path; expected path.to.key=value", in_quotes(setting));
    place = &(*place)[path.substr(begin, end - begin)];
    begin = end + 1;
  }
  *place = std::move(value);
  check_document(document, origin, ".");
  return document;
}

}  // namespace bittern::config
