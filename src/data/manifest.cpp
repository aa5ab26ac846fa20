// data.json: writing, and reading of what may be hostile.
#include "data/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "bittern/error.h"
#include "bittern/strict_json.h"

namespace bittern {
namespace {

using nlohmann::json;

// 2: the split is by a hash of the text (1: of the document's index), ids are those of the whole document for every kind of
// tokenizer, and the tokenizer's facts are told. Version 1 is read as it is.
constexpr std::int64_t version = 2, oldest_version = 1;
constexpr std::int64_t largest_manifest = std::int64_t{256} << 20;
constexpr const char* format_name = "bittern data";

nlohmann::ordered_json split_json(const SplitInfo& split) {
  nlohmann::ordered_json shards = nlohmann::ordered_json::array();
  for (const auto& shard : split.shards)
    shards.push_back({{"file", shard.file},
                      {"tokens", shard.tokens},
                      {"documents", shard.documents},
                      {"bytes", shard.bytes},
                      {"checksum", checksum_text(shard.checksum)}});
  return {
      {"tokens", split.tokens}, {"documents", split.documents}, {"text_bytes", split.text_bytes}, {"shards", shards}};
}

// Typed access to members, with errors that name the file and the member.
class Reader {
 public:
  Reader(const std::string& path, const json& object, std::string where)
      : path_(path), object_(object), where_(std::move(where)) {
    if (!object.is_object()) throw input_error("{}: {} is not an object; {}", path_, where_, remedy);
  }
  const json& member(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) throw input_error("{}: {}.{} is missing; {}", path_, where_, key, remedy);
    return *found;
  }
  std::int64_t count(const char* key, std::int64_t largest = INT64_MAX) const {
    const json& value = member(key);
    const auto number = json_count(value);
    if (!number || *number > largest) wrong(key, value, "a whole number");
    return *number;
  }
  std::int32_t id(const char* key, std::int64_t vocab_size) const {
    const json& value = member(key);
    if (!value.is_number_integer() || value < -1 || value >= vocab_size) wrong(key, value, "a token id");
    return value.get<std::int32_t>();
  }
  std::string text(const char* key) const {
    const json& value = member(key);
    if (!value.is_string()) wrong(key, value, "a text");
    return value.get<std::string>();
  }
  std::uint64_t checksum(const char* key) const {
    const std::string digits = text(key);
    const std::optional<std::uint64_t> value = parse_hex(digits, 16);
    if (!value) wrong(key, member(key), "16 hexadecimal digits");
    return *value;
  }
  [[noreturn]] void wrong(const char* key, const json& value, const char* expected) const {
    throw input_error("{}: {}.{} is {}; expected {}; {}", path_, where_, key, excerpt(value), expected, remedy);
  }
  static constexpr const char* remedy = "run `bittern prepare` again";

 private:
  const std::string& path_;
  const json& object_;
  std::string where_;
};

SplitInfo read_split(const std::string& path, const json& object, const char* name) {
  const Reader reader(path, object, name);
  SplitInfo split;
  split.tokens = reader.count("tokens");
  split.documents = reader.count("documents");
  split.text_bytes = reader.count("text_bytes");
  const json& shards = reader.member("shards");
  if (!shards.is_array()) reader.wrong("shards", shards, "a list");
  std::int64_t tokens = 0;
  for (const json& entry : shards) {
    const Reader shard(path, entry, fmt::format("{}.shards[{}]", name, split.shards.size()));
    ShardWriter::Shard info{.file = shard.text("file"),
                            .tokens = shard.count("tokens", split.tokens - tokens),
                            .documents = shard.count("documents"),
                            .bytes = shard.count("bytes"),
                            .checksum = shard.checksum("checksum")};
    // Only the name that prepare gives: no other file can be meant, inside or outside the folder.
    if (info.file != fmt::format("{}_{:05}.bin", name, split.shards.size()))
      shard.wrong("file", entry.at("file"), "the name that prepare gives");
    tokens += info.tokens;
    split.shards.push_back(std::move(info));
  }
  if (tokens != split.tokens)
    throw input_error("{}: {}.tokens is {} but its shards hold {}; {}", path, name, split.tokens, tokens,
                      Reader::remedy);
  return split;
}

}  // namespace

std::string data_manifest_text(const DataManifest& manifest) {
  nlohmann::ordered_json sources = nlohmann::ordered_json::array();
  for (const SourceInfo& source : manifest.sources) sources.push_back({{"file", source.file}, {"bytes", source.bytes}});
  const nlohmann::ordered_json root = {{"format", format_name},
                                       {"version", version},
                                       {"vocab_size", manifest.vocab_size},
                                       {"bos_id", manifest.bos},
                                       {"eos_id", manifest.eos},
                                       {"bytes_per_id", bytes_per_id(manifest.vocab_size)},
                                       {"tokenizer",
                                        {{"file", tokenizer_name},
                                         {"checksum", checksum_text(manifest.tokenizer_checksum)},
                                         {"kind", manifest.tokenizer_kind},
                                         {"unk_id", manifest.unknown},
                                         {"pad_id", manifest.pad}}},
                                       {"valid_fraction", manifest.valid_fraction},
                                       {"split_by", manifest.split_by_text ? "text" : "place"},
                                       {"replaced_bytes", manifest.replaced_bytes},
                                       {"skipped_lines", manifest.skipped_lines},
                                       {"unknown_tokens", manifest.unknown_tokens},
                                       {"train", split_json(manifest.train)},
                                       {"valid", split_json(manifest.valid)},
                                       {"sources", sources}};
  // A file name may be any bytes; what is not UTF-8 in it is shown as U+FFFD.
  return root.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

DataManifest read_data_manifest(const std::string& folder) {
  const std::string path = folder + "/" + manifest_name;
  const json root = parse_strict_json(read_whole_file(path, largest_manifest, "a manifest of prepared data"), path);
  const Reader reader(path, root, "data");
  if (reader.text("format") != format_name) reader.wrong("format", root.at("format"), "\"bittern data\"");
  const std::int64_t written = reader.count("version");
  if (written < oldest_version || written > version)
    throw input_error("{}: version is {}; this program reads versions {} to {}; use the program that wrote it, or {}",
                      path, written, oldest_version, version, Reader::remedy);
  DataManifest manifest;
  manifest.vocab_size = reader.count("vocab_size", INT32_MAX);
  if (manifest.vocab_size < 1) reader.wrong("vocab_size", root.at("vocab_size"), "at least 1");
  manifest.bos = reader.id("bos_id", manifest.vocab_size);
  manifest.eos = reader.id("eos_id", manifest.vocab_size);
  const Reader tokenizer(path, reader.member("tokenizer"), "tokenizer");
  manifest.tokenizer_checksum = tokenizer.checksum("checksum");
  if (written >= 2) {
    manifest.tokenizer_kind = tokenizer.text("kind");
    manifest.unknown = tokenizer.id("unk_id", manifest.vocab_size);
    manifest.pad = tokenizer.id("pad_id", manifest.vocab_size);
    manifest.skipped_lines = reader.count("skipped_lines");
    manifest.unknown_tokens = reader.count("unknown_tokens");
  }
  manifest.train = read_split(path, reader.member("train"), "train");
  manifest.valid = read_split(path, reader.member("valid"), "valid");
  return manifest;
}

}  // namespace bittern
