// safetensors, a folder: one file, or shards that an index names. The index comes from outside like the files do: a
// name in it must not lead out of the folder.
#include <filesystem>
#include <set>

#include "bittern/error.h"
#include "bittern/safetensors.h"
#include "bittern/strict_json.h"

namespace bittern {

bool is_plain_file_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name == "." || name == "..") return false;
  for (const char c : name)
    if (c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  return true;
}

SafetensorsFolder SafetensorsFolder::open(const std::string& directory) {
  namespace fs = std::filesystem;
  const std::string single = directory + "/model.safetensors";
  const std::string index_path = directory + "/model.safetensors.index.json";
  std::error_code ignored;
  SafetensorsFolder result;
  result.directory_ = directory;

  if (fs::exists(single, ignored)) {
    result.files_.push_back(SafetensorsFile::open(single));
    for (const SafetensorsEntry& tensor : result.files_[0].tensors()) {
      result.index_[tensor.name] = {result.tensors_.size(), 0};
      result.tensors_.push_back(tensor);
    }
    return result;
  }
  if (!fs::exists(index_path, ignored)) {
    const bool pickled = fs::exists(directory + "/pytorch_model.bin", ignored) ||
                         fs::exists(directory + "/pytorch_model.bin.index.json", ignored);
    throw input_error("{}: has neither model.safetensors nor model.safetensors.index.json; {}", directory,
                      pickled ? "convert pytorch_model.bin to safetensors with transformers: save_pretrained(FOLDER)"
                              : "expected a model folder; check the path");
  }

  const nlohmann::json index =
      parse_strict_json(read_whole_file(index_path, safetensors_header_limit, "a safetensors index"), index_path);
  const auto weight_map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || weight_map == index.end() || !weight_map->is_object() || weight_map->empty())
    throw input_error("{}: has no weight_map; expected an object from tensor names to file names; copy it again",
                      index_path);

  std::map<std::string, std::size_t> shard_of_file;
  for (const auto& [name, value] : weight_map->items()) {
    if (!value.is_string() || !is_plain_file_name(value.get_ref<const std::string&>()))
      throw input_error("{}: weight_map.{} is {}; expected the plain name of a file in the same folder; copy it again",
                        index_path, in_quotes(name), excerpt(value));
    const auto file = value.get<std::string>();
    const auto [shard, is_new] = shard_of_file.try_emplace(file, result.files_.size());
    if (is_new) {
      const std::string path = directory + "/" + file;
      if (!fs::exists(path, ignored))
        throw input_error("{}: weight_map.{} is {}, which does not exist; expected every shard; download it",
                          index_path, in_quotes(name), in_quotes(file));
      result.files_.push_back(SafetensorsFile::open(path));
    }
    const SafetensorsEntry* tensor = result.files_[shard->second].find(name);
    if (!tensor)
      throw input_error(
          "{}: weight_map.{} is {}, which has no such tensor; the index and the shards do not belong "
          "together: copy all of them again",
          index_path, in_quotes(name), in_quotes(file));
    result.index_[name] = {result.tensors_.size(), shard->second};
    result.tensors_.push_back(*tensor);
  }
  return result;
}

const SafetensorsEntry* SafetensorsFolder::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second.tensor];
}

const std::string& SafetensorsFolder::file_of(const SafetensorsEntry& tensor) const {
  return files_[index_.at(tensor.name).file].path();
}

void SafetensorsFolder::read(std::string_view name, std::span<std::byte> out) const {
  const auto found = index_.find(name);
  if (found == index_.end())
    throw input_error("{}: has no tensor {}; expected it; the folder holds another model", directory_, in_quotes(name));
  files_[found->second.file].read(name, out);
}

void SafetensorsFolder::read_part(const SafetensorsEntry& tensor, std::int64_t first, std::span<std::byte> out) const {
  files_[index_.at(tensor.name).file].read_part(tensor, first, out);
}

}  // namespace bittern
