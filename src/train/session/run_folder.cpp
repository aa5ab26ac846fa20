// Opening a run's folder: telling a run from what only looks like one, and the lock.
#include "train/session/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "bittern/checkpoint.h"
#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/strict_json.h"
#include "bittern/token_file.h"

namespace bittern {
namespace {

namespace fs = std::filesystem;

/// All that a run ever writes into its folder, but for files that are being written (NAME.tmp).
constexpr std::array<std::string_view, 11> names_of_a_run = {
    ".lock",       "config.json", "start.json",     "fork.json",   "metrics.jsonl", "tensorboard",
    "report.html", "log.txt",     "heartbeat.json", "checkpoints", "ranks"};

bool has(const std::string& folder, const char* name) {
  std::error_code error;
  return fs::exists(folder + "/" + name, error);
}

std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator item(folder, error);
  for (; !error && item != fs::directory_iterator(); item.increment(error))
    names.push_back(item->path().filename().string());
  if (error)
    throw input_error("--out {}: the folder cannot be read ({}); make it readable or choose another one", folder,
                      error.message());
  std::ranges::sort(names);
  return names;
}

/// FOLDER/NAME as a JSON object; nothing where it is none.
nlohmann::json object_in(const std::string& folder, const char* name) {
  try {
    nlohmann::json object =
        parse_strict_json(read_whole_file(folder + "/" + name, 1 << 20, "a small file"), folder + "/" + name);
    return object.is_object() ? object : nlohmann::json::object();
  } catch (const Error&) {
    return nlohmann::json::object();
  }
}

/// The config.json that a run writes: every section is there. One that a person wrote, or Hugging Face's, is another.
bool is_effective_config(const nlohmann::json& config) {
  constexpr std::array sections = {"run", "model", "data", "train", "schedule", "optimizer", "precision", "weights"};
  return std::ranges::all_of(sections, [&](const char* section) { return config.contains(section); });
}

bool has_checkpoint(const std::string& folder) {
  std::error_code error;
  fs::directory_iterator item(folder + "/checkpoints", error);
  for (; !error && item != fs::directory_iterator(); item.increment(error))
    if (checkpoint_step(item->path().filename().string()) && fs::exists(item->path() / "manifest.json", error))
      return true;
  return false;
}

bool is_run(const std::string& folder, const std::vector<std::string>& names) {
  if (has(folder, "manifest.json")) return false;
  const bool ours = is_effective_config(object_in(folder, "config.json"));
  if (has(folder, "config.json") && !ours) return false;
  const nlohmann::json start = object_in(folder, "start.json");
  if (start.contains("init") && start.contains("resume")) return true;
  if (has_checkpoint(folder) || (ours && has(folder, "metrics.jsonl"))) return true;
  // Stopped before its first checkpoint, or even before its first step: nothing but what a run writes.
  return std::ranges::all_of(names, [](std::string_view name) {
    if (name.ends_with(".tmp")) name.remove_suffix(4);
    return std::ranges::find(names_of_a_run, name) != names_of_a_run.end();
  });
}

/// What a folder that is no run is, for a person.
std::string what_it_is(const std::string& folder, const std::vector<std::string>& names) {
  if (has(folder, "manifest.json") && has(folder, "trainer.json")) return "a checkpoint";
  if (is_prepared_folder(folder)) return "a folder of prepared data";
  const nlohmann::json config = object_in(folder, "config.json");
  if (config.contains("model_type") || config.contains("architectures"))
    return "a folder of Hugging Face's, with a model";
  const auto foreign = std::ranges::find_if(
      names, [](std::string_view name) { return std::ranges::find(names_of_a_run, name) == names_of_a_run.end(); });
  if (has(folder, "config.json")) return "no run of bittern: its config.json is not one that a run has written";
  return fmt::format("no run of bittern: it holds {}", in_quotes(foreign == names.end() ? names.front() : *foreign));
}

}  // namespace

RunFolder RunFolder::open(const std::string& path) {
  std::error_code error;
  if (fs::exists(path, error)) {
    if (!fs::is_directory(path, error)) throw input_error("--out {}: it is a file; name a folder", path);
    const std::vector<std::string> names = entries(path);
    if (!names.empty() && !is_run(path, names))
      throw input_error(
          "--out {}: it is {}; a run would write over what is there: name a new folder, an empty one, or that of a run",
          path, what_it_is(path, names));
  }
  make_directories(path);
  const std::string lock_path = path + "/.lock";
  const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0)
    throw failure("{}: cannot be written ({}); make the folder writable or choose another --out", lock_path,
                  std::strerror(errno));
  RunFolder folder(path, lock);
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    if (reason == EWOULDBLOCK)
      throw input_error("--out {}: another bittern is training into this folder; wait for it or choose another --out",
                        path);
    throw failure("{}: cannot be locked ({}); choose an --out on a file system with locks, for example a local disk",
                  lock_path, std::strerror(reason));
  }
  return folder;
}

RunFolder::~RunFolder() {
  if (lock_ >= 0) close(lock_);
}

}  // namespace bittern
