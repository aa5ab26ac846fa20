// What the checkpoint's files share: its names, and the list of a run's checkpoint folders.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bittern::checkpoint_detail {

inline constexpr const char* manifest_name = "manifest.json";
inline constexpr const char* model_name = "model.safetensors";
inline constexpr const char* optimizer_name = "optimizer.safetensors";
inline constexpr const char* config_name = "config.json";
inline constexpr const char* trainer_name = "trainer.json";
inline constexpr const char* tokenizer_name = "tokenizer.model";
inline constexpr const char* required_files[] = {model_name, optimizer_name, config_name, trainer_name};

inline std::string checkpoints_of(const std::string& run_dir) {
  return run_dir + "/checkpoints";
}

struct Folder {
  std::string name;
  std::int64_t step;
};
/// The folders named step_ and digits, newest first. None when there is no checkpoints folder.
std::vector<Folder> checkpoint_folders(const std::string& run_dir);

/// What the run that wrote a checkpoint says of it in trainer.json, in the order of what to go on from.
enum class CheckpointStanding : std::uint8_t {
  not_finite,  ///< a weight or a moment is not finite: nothing can go on from it
  skipped,     ///< its last step was skipped
  learned      ///< its last step made an update; also what is not known
};
CheckpointStanding standing_of(const std::string& directory);

/// Takes the folder out of sight (its name becomes step_N.removed.tmp, which no reader looks at), then removes it: a
/// crash half-way leaves nothing that looks like a checkpoint.
void remove_checkpoint(const std::string& directory);

}  // namespace bittern::checkpoint_detail
