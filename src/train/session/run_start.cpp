// Reads and writes start.json and fork.json.
#include "train/session/run_start.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/strict_json.h"

namespace bittern {

std::string Start::option() const {
  if (!init.empty()) return "--init " + init;
  if (!resume.empty()) return "--resume " + resume;
  return fork.empty() ? "" : "--fork " + fork;
}

std::optional<Start> read_start(const RunFolder& folder) {
  const std::string path = folder.path() + "/start.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  const nlohmann::json json = parse_strict_json(read_whole_file(path, 1 << 20, "a run's start"), path);
  const auto is_text = [&](const char* key, bool needed) {
    return json.contains(key) ? json[key].is_string() : !needed;
  };
  if (!json.is_object() || !is_text("init", true) || !is_text("resume", true) || !is_text("fork", false) ||
      !is_text("folder", false))
    throw input_error("{}: expected {{\"init\": ..., \"resume\": ...}}; remove the file to go on without it", path);
  // An older program could not fork, and did not say what it had found.
  return Start{json["init"], json["resume"], json.value("fork", ""), json.value("folder", "")};
}

void write_start(const RunFolder& folder, const Start& start) {
  const nlohmann::ordered_json json = {
      {"init", start.init}, {"resume", start.resume}, {"fork", start.fork}, {"folder", start.folder}};
  write_file_atomically(folder.path() + "/start.json", json.dump(2) + "\n");
}

void write_fork(const RunFolder& folder, const Fork& fork) {
  const nlohmann::ordered_json json = {{"checkpoint", fork.checkpoint}, {"step", fork.step}, {"changed", fork.changed}};
  write_file_atomically(folder.path() + "/fork.json", json.dump(2) + "\n");
}

}  // namespace bittern
