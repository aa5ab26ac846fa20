// Checkpoints: everything that a run needs to go on, on disk whole or not at all (docs/formats.md).
//
//   RUN/checkpoints/step_00001000/
//     model.safetensors  optimizer.safetensors  config.json (Hugging Face's)  trainer.json  tokenizer.model
//     manifest.json      written last: version, step, and size and XXH3-64 of every other file
//
// Written into step_N.tmp, every file fsynced, then the manifest, then a rename and an fsync of the folder: a crash at
// any moment leaves either no step_N or a whole one. A reader accepts only a folder whose manifest and sizes (and
// checksums, when loading) are right, and otherwise falls back to the one before, saying why.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bittern/safetensors.h"

namespace bittern {

/// What a checkpoint is made of. The tensors' data are views and stay untouched until the checkpoint is written.
struct CheckpointContents {
  /// A small file that `transformers` wants beside the weights: tokenizer_config.json, ...
  struct SmallFile {
    std::string name, bytes;
  };
  std::int64_t step = 0;
  std::vector<NamedTensor> model, optimizer;
  std::string hf_config_json, trainer_json;
  std::string tokenizer;  ///< the bytes of tokenizer.model; empty: the run has none
  std::vector<SmallFile> small_files;
};

/// Writes RUN/checkpoints/step_N and returns its path. A valid step_N that holds the same weights and states is kept as
/// it is; one that holds others is never overwritten (an Error); one that is broken, or that was saved by a run that had
/// diverged, is replaced. On failure (disk full, ...)
/// the half-written folder is removed, earlier checkpoints are untouched, and the Error names the path, the reason, and
/// the bytes needed and free.
std::string write_checkpoint(const std::string& run_dir, const CheckpointContents& contents);

/// Removes what a killed writer left behind (step_N.tmp). To be called when no other process writes into the run.
void remove_unfinished_checkpoints(const std::string& run_dir);

/// Keeps the newest `keep` valid checkpoints and those of the `protected_steps`, removes the older ones. keep = 0 keeps
/// all. The last valid one always stays; so does everything not named step_ and digits.
void prune_checkpoints(const std::string& run_dir, std::int64_t keep,
                       const std::vector<std::int64_t>& protected_steps = {});

/// What a run does at an interval: write_checkpoint, but for contents with a number that is not finite (an Error), then
/// prune_checkpoints to `keep`, the step that was written and the `protected_steps`.
void save_checkpoint(const std::string& run_dir, const CheckpointContents& contents, std::int64_t keep,
                     std::vector<std::int64_t> protected_steps);

/// The first of the tensors that holds a number that is not finite; nullptr: none does.
const NamedTensor* find_not_finite(const std::vector<NamedTensor>& tensors);

/// manifest.json, checked.
struct Manifest {
  struct File {
    std::string name;
    std::int64_t bytes = 0;
    std::uint64_t xxh3 = 0;
  };
  std::int64_t step = 0;
  std::vector<File> files;
};
std::string manifest_text(const Manifest& manifest);
Manifest parse_manifest(std::string_view text, std::string_view path);

/// How much of a checkpoint is looked at: the manifest and the files' sizes, or every byte of them.
enum class CheckpointCheck : std::uint8_t { sizes, checksums };

/// Throws an Error that says what is wrong with the folder. Returns its manifest.
Manifest verify_checkpoint(const std::string& directory, CheckpointCheck depth);

/// A verified checkpoint, open for reading.
struct Checkpoint {
  std::string directory;
  std::int64_t step = 0;
  SafetensorsFile model, optimizer;
  std::string hf_config_json, trainer_json, tokenizer;
};
/// Opens the folder (of any name) after checking every byte of it; `sizes`: where that was done already.
Checkpoint load_checkpoint(const std::string& directory, CheckpointCheck depth = CheckpointCheck::checksums);

/// The newest valid checkpoint of a run, every byte of it checked; one that a diverged run saved only where there is no
/// other. `warning` says what was wrong with newer ones (one line each); a warning without a directory means that checkpoints exist but none can be used: a run should then stop
/// rather than start over.
struct LatestCheckpoint {
  std::string directory;  ///< empty: none
  std::int64_t step = -1;
  std::string warning;
  Manifest manifest;
};
LatestCheckpoint find_latest(const std::string& run_dir);
/// Opens what find_latest has checked, without reading all of it again.
Checkpoint open_latest(const LatestCheckpoint& latest);

/// The steps of the run's folders that are named as checkpoints, newest first. Nothing else of them is looked at.
std::vector<std::int64_t> checkpoint_steps(const std::string& run_dir);

/// The name of a checkpoint's folder, and the step that a folder's name says (nothing for any other name).
std::string checkpoint_name(std::int64_t step);
std::optional<std::int64_t> checkpoint_step(std::string_view name);

/// Writes checkpoints while training goes on: one low-priority thread, at most one checkpoint at a time.
///   writer.wait();  copy the parameters into the snapshot;  writer.submit(contents of views into the snapshot)
class CheckpointWriter {
 public:
  /// Removes unfinished checkpoints of a run that was killed.
  CheckpointWriter(std::string run_dir, std::int64_t keep);
  /// Waits. An error that nobody asked for is printed.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Starts save_checkpoint and returns. First waits for the work before; throws what that met (then nothing is started,
  /// and the next call starts afresh).
  void submit(CheckpointContents contents, std::vector<std::int64_t> protected_steps = {});
  /// Prunes in the background, by the same rules.
  void prune(std::vector<std::int64_t> protected_steps);
  /// Returns when nothing is being done; throws what the work met, once.
  void wait();
  /// True when a submit would not wait, and the snapshot may be overwritten.
  bool idle() const { return !busy_.load(); }

 private:
  void start(std::function<void()> work);

  std::string run_dir_;
  std::int64_t keep_;
  std::thread thread_;
  std::atomic<bool> busy_ = false;
  std::exception_ptr error_;  ///< written by the thread, read after it was joined
};

}  // namespace bittern
