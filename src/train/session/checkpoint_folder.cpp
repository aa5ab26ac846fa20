// From what a user names to the folder of a checkpoint.
#include "train/session/checkpoint_folder.h"

#include <spdlog/spdlog.h>

#include <filesystem>

#include "bittern/checkpoint.h"
#include "bittern/error.h"

namespace bittern {

namespace fs = std::filesystem;

std::string checkpoint_folder(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error))
    throw input_error("{}: not a folder; name a checkpoint, a run's folder, or a folder in Hugging Face's layout",
                      path);
  if (fs::exists(path + "/manifest.json", error)) verify_checkpoint(path, CheckpointCheck::checksums);
  if (fs::exists(path + "/config.json", error) && fs::exists(path + "/model.safetensors", error)) return path;
  const bool is_run = fs::is_directory(path + "/checkpoints", error) || fs::exists(path + "/.lock", error);
  if (!is_run) return path;
  const LatestCheckpoint latest = find_latest(path);
  if (!latest.warning.empty()) spdlog::warn("{}", latest.warning);
  if (latest.directory.empty()) throw input_error("{}: the run has no usable checkpoint yet", path);
  return latest.directory;
}

}  // namespace bittern
