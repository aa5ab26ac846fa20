// Checkpoints, reading: which ones a run has, whether they are whole, and opening one.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <system_error>

#include "bittern/checkpoint.h"
#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/strict_json.h"
#include "store/checkpoint_internal.h"
#include "store/training_state.h"

namespace bittern {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t manifest_limit = 1 << 20;
constexpr std::int64_t small_file_limit = 256 << 20;  // the largest tokenizers are some 10 MB

constexpr std::string_view unfinished_suffix = ".tmp", removed_suffix = ".removed.tmp";

std::int64_t size_of_file(const std::string& path) {
  return File::open(path).size();
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  return fmt::format("step_{:08d}", step);
}

std::optional<std::int64_t> checkpoint_step(std::string_view name) {
  constexpr std::string_view prefix = "step_";
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  if (name.empty() || name.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  std::int64_t step = 0;
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (code != std::errc() || end != name.data() + name.size()) return std::nullopt;  // does not fit into 63 bits
  return step;
}

std::vector<checkpoint_detail::Folder> checkpoint_detail::checkpoint_folders(const std::string& run_dir) {
  const std::string directory = checkpoints_of(run_dir);
  std::vector<Folder> folders;
  std::error_code code;
  fs::directory_iterator item(directory, code);
  if (code == std::errc::no_such_file_or_directory) return folders;
  while (!code && item != fs::directory_iterator()) {
    const std::string name = item->path().filename().string();
    std::error_code unreadable;
    if (const auto step = checkpoint_step(name); step && item->is_directory(unreadable))
      folders.push_back({name, *step});
    item.increment(code);
  }
  if (code) throw failure("{}: cannot list the checkpoints: {}; check the permissions", directory, code.message());
  std::sort(folders.begin(), folders.end(),
            [](const Folder& a, const Folder& b) { return std::tie(a.step, a.name) > std::tie(b.step, b.name); });
  return folders;
}

std::vector<std::int64_t> checkpoint_steps(const std::string& run_dir) {
  std::vector<std::int64_t> steps;
  for (const checkpoint_detail::Folder& folder : checkpoint_detail::checkpoint_folders(run_dir))
    steps.push_back(folder.step);
  return steps;
}

Manifest verify_checkpoint(const std::string& directory, CheckpointCheck depth) {
  const std::string path = directory + "/" + checkpoint_detail::manifest_name;
  const Manifest manifest = parse_manifest(read_whole_file(path, manifest_limit, "a checkpoint's manifest"), path);
  for (const Manifest::File& file : manifest.files) {
    const std::string file_path = directory + "/" + file.name;
    if (const std::int64_t bytes = size_of_file(file_path); bytes != file.bytes)
      throw input_error("{}: has {} bytes; expected {} by its manifest; the file is damaged: use an earlier checkpoint",
                        file_path, bytes, file.bytes);
  }
  if (depth == CheckpointCheck::checksums)
    for (const Manifest::File& file : manifest.files) {
      const std::string file_path = directory + "/" + file.name;
      if (const std::uint64_t sum = checksum_file(file_path); sum != file.xxh3)
        throw input_error(
            "{}: checksum is {}; expected {} by its manifest; the file is damaged: use an earlier checkpoint",
            file_path, checksum_text(sum), checksum_text(file.xxh3));
    }
  return manifest;
}

namespace {

/// Opens a folder that was checked.
Checkpoint open_checkpoint(const std::string& directory, const Manifest& manifest) {
  using namespace checkpoint_detail;
  const auto small_file = [&](const char* name) {
    return read_whole_file(directory + "/" + name, small_file_limit, "a small file of a checkpoint");
  };
  const bool has_tokenizer = std::any_of(manifest.files.begin(), manifest.files.end(),
                                         [](const Manifest::File& file) { return file.name == tokenizer_name; });
  return {.directory = directory,
          .step = manifest.step,
          .model = SafetensorsFile::open(directory + "/" + model_name),
          .optimizer = SafetensorsFile::open(directory + "/" + optimizer_name),
          .hf_config_json = small_file(config_name),
          .trainer_json = small_file(trainer_name),
          .tokenizer = has_tokenizer ? small_file(tokenizer_name) : std::string()};
}

}  // namespace

Checkpoint load_checkpoint(const std::string& directory, CheckpointCheck depth) {
  return open_checkpoint(directory, verify_checkpoint(directory, depth));
}

Checkpoint open_latest(const LatestCheckpoint& latest) {
  return open_checkpoint(latest.directory, latest.manifest);
}

LatestCheckpoint find_latest(const std::string& run_dir) {
  using checkpoint_detail::CheckpointStanding, checkpoint_detail::Folder;
  const auto path_of = [&](const Folder& folder) {
    return checkpoint_detail::checkpoints_of(run_dir) + "/" + folder.name;
  };
  std::vector<Folder> folders = checkpoint_detail::checkpoint_folders(run_dir);
  std::ranges::stable_sort(folders, std::greater(),
                           [&](const Folder& folder) { return checkpoint_detail::standing_of(path_of(folder)); });
  LatestCheckpoint latest;
  for (const Folder& folder : folders) {
    const std::string directory = path_of(folder);
    try {
      Manifest manifest = verify_checkpoint(directory, CheckpointCheck::checksums);
      if (manifest.step != folder.step)
        throw input_error("{}: its manifest says step {}; expected the step of its name; rename it back or remove it",
                          directory, manifest.step);
      latest.directory = directory;
      latest.step = folder.step;
      latest.manifest = std::move(manifest);
      return latest;
    } catch (const Error& error) {
      if (!latest.warning.empty()) latest.warning += '\n';
      latest.warning += fmt::format("checkpoint {} cannot be used: {}", folder.name, error.what());
    }
  }
  return latest;
}

checkpoint_detail::CheckpointStanding checkpoint_detail::standing_of(const std::string& directory) {
  try {
    const std::string path = directory + "/" + trainer_name;
    const TrainerRecord record = parse_trainer_json(read_whole_file(path, small_file_limit, "a small file"), path);
    if (!record.finite) return CheckpointStanding::not_finite;
    return record.state.skipped_in_a_row > 0 ? CheckpointStanding::skipped : CheckpointStanding::learned;
  } catch (const Error&) {
    return CheckpointStanding::learned;  // whoever opens it will find what is wrong
  }
}

void checkpoint_detail::remove_checkpoint(const std::string& directory) {
  const std::string hidden = directory + std::string(removed_suffix);
  std::error_code code;
  fs::remove_all(hidden, code);
  if (!code) fs::rename(directory, hidden, code);
  if (!code) fs::remove_all(hidden, code);
  if (code) throw failure("{}: cannot remove the checkpoint: {}; check the permissions", directory, code.message());
}

void remove_unfinished_checkpoints(const std::string& run_dir) {
  const std::string directory = checkpoint_detail::checkpoints_of(run_dir);
  std::error_code code;
  std::vector<fs::path> unfinished;
  fs::directory_iterator item(directory, code);
  if (code == std::errc::no_such_file_or_directory) return;
  while (!code && item != fs::directory_iterator()) {
    const std::string name = item->path().filename().string();
    for (const std::string_view suffix : {unfinished_suffix, removed_suffix})
      if (name.ends_with(suffix) && checkpoint_step(std::string_view(name).substr(0, name.size() - suffix.size())))
        unfinished.push_back(item->path());
    item.increment(code);
  }
  for (const fs::path& path : unfinished)
    if (!code) fs::remove_all(path, code);
  if (code)
    throw failure("{}: cannot remove unfinished checkpoints: {}; check the permissions", directory, code.message());
}

void prune_checkpoints(const std::string& run_dir, std::int64_t keep,
                       const std::vector<std::int64_t>& protected_steps) {
  if (keep <= 0) return;
  std::int64_t kept = 0;
  for (const checkpoint_detail::Folder& folder : checkpoint_detail::checkpoint_folders(run_dir)) {
    const std::string directory = checkpoint_detail::checkpoints_of(run_dir) + "/" + folder.name;
    if (kept >= keep) {
      if (std::ranges::find(protected_steps, folder.step) == protected_steps.end())
        checkpoint_detail::remove_checkpoint(directory);
      continue;
    }
    try {
      if (verify_checkpoint(directory, CheckpointCheck::sizes).step == folder.step) ++kept;
    } catch (const Error&) {
      // Newer than the oldest one kept, and broken: it stays for whoever wants to look, and does not count.
    }
  }
}

}  // namespace bittern
