// When and from where a checkpoint is written; what it is made of.
#include "train/saves.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "bittern/file.h"
#include "bittern/progress.h"
#include "store/hf_config.h"
#include "store/quantization_config.h"

namespace bittern {
namespace {

/// A pause that is shorter is in the metrics, and not worth a line of the log.
constexpr double noticed_seconds = 0.05;

}  // namespace

CheckpointContents checkpoint_contents(const Session& session, const TrainingState& state, bool from_snapshot) {
  const RunConfig& config = session.config;
  const std::optional<Tokenizer>& tokenizer = session.data->tokenizer;
  return {.step = state.step,
          .model = session.checkpoint_tensors(false, from_snapshot),
          .optimizer = session.checkpoint_tensors(true, from_snapshot),
          .hf_config_json = hf_config_json(config.model, config.weights, special_ids(tokenizer)),
          .trainer_json = trainer_json(state, session.identity, config),
          .tokenizer = tokenizer ? tokenizer->file_bytes() : std::string(),
          .small_files = tokenizer ? tokenizer_files(*tokenizer) : std::vector<CheckpointContents::SmallFile>{}};
}

void warn_where_checkpoints_do_not_fit(const Session& session, const TrainingState& state) {
  const TrainSection& config = session.config.train;
  std::int64_t bytes = 0;  // of a checkpoint
  for (const bool optimizer : {false, true})
    bytes += safetensors_file_bytes(session.checkpoint_tensors(optimizer, false));
  const std::int64_t steps_left = config.steps - state.step;
  const std::int64_t saves =
      config.checkpoint_every > 0 ? (steps_left + config.checkpoint_every - 1) / config.checkpoint_every : 1;
  // One more than is kept exists while it is written.
  const std::int64_t most = config.keep_checkpoints > 0 ? config.keep_checkpoints + 1 : saves;
  const std::string folder = session.folder->path();
  const auto there = static_cast<std::int64_t>(checkpoint_steps(folder).size());
  const std::int64_t to_come = std::min(saves, config.keep_checkpoints > 0 ? most - there : saves);
  const std::optional<std::int64_t> free = free_bytes(folder);
  if (!free || to_come <= 0 || bytes <= *free / to_come) return;
  const auto shown = [](std::int64_t size) { return short_bytes(static_cast<double>(size)); };
  spdlog::warn(
      "the disk of {} has room for {} more checkpoints of {} ({} free), and {} more will be there at a time; free some "
      "space, or lower train.keep_checkpoints (now {}): a save that does not fit is tried again at the next interval",
      folder, *free / bytes, shown(bytes), shown(*free), to_come, config.keep_checkpoints);
}

Saves::Saves(const Session& session, TrainingState& state, Watchers& watchers, DataCheck& data_check)
    : session_(session),
      state_(state),
      watchers_(watchers),
      data_check_(data_check),
      writer_(session.folder->path(), session.config.train.keep_checkpoints) {
  const std::vector<std::int64_t> steps = checkpoint_steps(session.folder->path());
  if (std::ranges::find(steps, state.step) != steps.end()) newest_ = state.step;
}

std::string Saves::path_of(std::int64_t step) const {
  return session_.folder->path() + "/checkpoints/" + checkpoint_name(step);
}

std::string Saves::newest_proven() const {
  return state_.proven_checkpoint < 0 ? std::string() : path_of(state_.proven_checkpoint);
}

bool Saves::proves_newest() {
  const std::int64_t last_update = state_.step - state_.skipped_in_a_row;  // the last step that made one
  if (newest_ < 0 || newest_ >= last_update || newest_ == state_.proven_checkpoint) return false;
  state_.proven_checkpoint = newest_;
  return true;
}

void Saves::after_step() {
  settle(false);
  if (!proves_newest() || state_.skipped_in_a_row > 0) return;
  if (writing_ >= 0 || pruning_) return;  // while a save is under way, the next one prunes
  writer_.prune({newest_});
  pruning_ = true;
}

void Saves::now() {
  settle(true);
  owed_ = false;
  if (newest_ == state_.step || state_.step == 0) return;
  proves_newest();  // that of a save that has only ended now
  data_check_.wait_for_save();
  watchers_.heartbeat.beat(state_.step, RunStatus::saving);
  watchers_.metrics.sync();
  CheckpointContents contents = checkpoint_contents(session_, state_, false);
  const NamedTensor* bad = find_not_finite(contents.model);
  if (!bad) bad = find_not_finite(contents.optimizer);
  if (bad) {
    spdlog::warn("step {}: {} holds a number that is not finite: the run has diverged, and cannot go on from here",
                 state_.step, bad->name);
    contents.trainer_json = trainer_json(state_, session_.identity, session_.config, false);
  }
  write_checkpoint(session_.folder->path(), contents);
  if (!bad && state_.skipped_in_a_row == 0)
    prune_checkpoints(session_.folder->path(), session_.config.train.keep_checkpoints,
                      {state_.step, state_.proven_checkpoint});
  newest_ = state_.step;
}

void Saves::write_copied(bool wait) {
  if (!copied_ || (!wait && !session_.backend->reached(copying_))) return;
  session_.backend->wait(copying_);
  writer_.submit(*std::exchange(copied_, std::nullopt), {state_.proven_checkpoint});
}

void Saves::settle(bool wait) {
  write_copied(wait);
  if ((writing_ < 0 && !pruning_) || copied_ || (!wait && !writer_.idle())) return;
  const std::int64_t step = std::exchange(writing_, -1);
  pruning_ = false;
  try {
    writer_.wait();
    if (step >= 0) saved(step);
  } catch (const Error& error) {
    if (step >= 0) return failed(error);
    spdlog::error("{}", error.what());  // an old checkpoint could not be removed
  }
}

void Saves::saved(std::int64_t step) {
  newest_ = step;
  if (failed_in_a_row_ > 0) spdlog::info("saved again, at step {}, after {} saves that failed", step, failed_in_a_row_);
  failed_in_a_row_ = 0;
}

void Saves::failed(const Error& error) {
  spdlog::error("{}", error.what());
  ++failed_in_a_row_;
  owed_ = newest_ < 0;  // nothing of the run is on the disk yet
  if (!owed_)
    spdlog::warn(
        "{} saves in a row have failed; the run goes on, the newest checkpoint is {}, and the next save is due "
        "at the next interval",
        failed_in_a_row_, path_of(newest_));
}

void Saves::write_in_pieces() {
  const CheckpointContents contents = checkpoint_contents(session_, state_, false);
  try {
    save_checkpoint(session_.folder->path(), contents, session_.config.train.keep_checkpoints,
                    {state_.proven_checkpoint});
    saved(state_.step);
  } catch (const Error& error) {
    failed(error);
  }
}

void Saves::begin() {
  if (state_.skipped_in_a_row > 0) {
    spdlog::warn("step {} was skipped, so it is not saved; the newest checkpoint stays {}", state_.step,
                 newest_ < 0 ? "none" : path_of(newest_));
    return;
  }
  const double started = steady_seconds();
  settle(true);
  if (owed_) return now();
  proves_newest();  // that of a save that has only ended now
  data_check_.wait_for_save();
  watchers_.progress.activity("saving");
  watchers_.heartbeat.beat(state_.step, RunStatus::saving);
  watchers_.metrics.sync();
  if (session_.snapshot) {
    copying_ = session_.take_snapshot();
    copied_ = checkpoint_contents(session_, state_, true);
    writing_ = state_.step;
    write_copied(false);
  } else {
    write_in_pieces();
  }
  const double seconds = steady_seconds() - started;
  pause_ms_ = 1e3 * seconds;
  if (seconds >= noticed_seconds) spdlog::info("step {}: training paused for {:.2f} s to save", state_.step, seconds);
}

}  // namespace bittern
