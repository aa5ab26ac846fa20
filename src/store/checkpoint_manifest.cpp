// manifest.json: the file that makes a folder a checkpoint.
//
//   {"format": "bittern-checkpoint", "version": 1, "step": 1000,
//    "files": {"model.safetensors": {"bytes": 123, "xxh3": "0123456789abcdef"}, ...},
//    "xxh3": the checksum of this object, without this line, written compactly with sorted keys}
#include <algorithm>

#include "base/hex.h"
#include "bittern/checkpoint.h"
#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/strict_json.h"
#include "store/checkpoint_internal.h"

namespace bittern {
namespace {

using nlohmann::json;
constexpr std::int64_t manifest_version = 1;
constexpr std::string_view manifest_format = "bittern-checkpoint";

// nlohmann's objects are sorted by key, so the compact text is a function of the content.
std::string self_checksum(const json& without_checksum) {
  return checksum_text(checksum(as_bytes(without_checksum.dump(-1, ' ', false, json::error_handler_t::replace))));
}

std::optional<std::uint64_t> checksum_from_text(const json& value) {
  return value.is_string() ? parse_hex(value.get_ref<const std::string&>(), 16) : std::nullopt;
}

const json& member(const json& object, const char* key, const std::string& where, const char* expected) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end())
    throw input_error("{} has no {}; expected {}; the checkpoint is damaged: use an earlier one", where, key, expected);
  return *found;
}

}  // namespace

std::string manifest_text(const Manifest& manifest) {
  json files = json::object();
  for (const Manifest::File& file : manifest.files)
    files[file.name] = {{"bytes", file.bytes}, {"xxh3", checksum_text(file.xxh3)}};
  json object = {{"format", manifest_format}, {"version", manifest_version}, {"step", manifest.step}, {"files", files}};
  object["xxh3"] = self_checksum(object);
  return object.dump(2) + "\n";
}

Manifest parse_manifest(std::string_view text, std::string_view path) {
  const std::string where(path);
  json object = parse_strict_json(text, where);
  const json& format = member(object, "format", where, "\"bittern-checkpoint\"");
  if (format != manifest_format)
    throw input_error("{}: format is {}; expected \"{}\"; check the path", where, excerpt(format), manifest_format);
  const json& version = member(object, "version", where, "1");
  if (json_count(version) != manifest_version)
    throw input_error("{}: version is {}; expected {}; use the bittern that wrote it, or a newer one", where,
                      excerpt(version), manifest_version);
  const json sum = member(object, "xxh3", where, "a checksum");
  object.erase("xxh3");
  if (sum != self_checksum(object))
    throw input_error("{}: xxh3 is {}; expected \"{}\"; the manifest is damaged: use an earlier checkpoint", where,
                      excerpt(sum), self_checksum(object));

  Manifest manifest;
  const json& step = member(object, "step", where, "a whole number");
  if (!json_count(step))
    throw input_error("{}: step is {}; expected a whole number from 0 on; use an earlier checkpoint", where,
                      excerpt(step));
  manifest.step = *json_count(step);

  const json& files = member(object, "files", where, "the list of files");
  if (!files.is_object())
    throw input_error("{}: files is {}; expected an object; use an earlier checkpoint", where, excerpt(files));
  for (const auto& [name, entry] : files.items()) {
    const std::string field = fmt::format("{}: files.{}", where, in_quotes(name));
    if (!is_plain_file_name(name) || name == checkpoint_detail::manifest_name)
      throw input_error(
          "{} is not a name that a checkpoint can have; expected the plain name of a file in the folder; use "
          "an earlier checkpoint",
          field);
    const json& bytes = member(entry, "bytes", field, "a whole number");
    if (!json_count(bytes))
      throw input_error("{}.bytes is {}; expected a whole number from 0 on; use an earlier checkpoint", field,
                        excerpt(bytes));
    const auto xxh3 = checksum_from_text(member(entry, "xxh3", field, "a checksum"));
    if (!xxh3)
      throw input_error("{}.xxh3 is {}; expected 16 hexadecimal digits; use an earlier checkpoint", field,
                        excerpt(entry.at("xxh3")));
    manifest.files.push_back({.name = name, .bytes = *json_count(bytes), .xxh3 = *xxh3});
  }
  for (const char* name : checkpoint_detail::required_files)
    if (!files.contains(name))
      throw input_error("{}: files has no {}; expected every file of a checkpoint; use an earlier one", where, name);
  return manifest;
}

}  // namespace bittern
