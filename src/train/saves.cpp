// When and from where a checkpoint is written; what it is made of.
#include "train/saves.h"

#include <spdlog/spdlog.h>

#include <optional>
#include <string>
#include <utility>

#include "store/hf_config.h"
#include "store/quantization_config.h"

namespace bittern {

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

Saves::Saves(const Session& session, const TrainingState& state, Watchers& watchers, DataCheck& data_check)
    : session_(session),
      state_(state),
      watchers_(watchers),
      data_check_(data_check),
      writer_(session.folder->path(), session.config.train.keep_checkpoints),
      newest_(state.step > 0 ? state.step : -1) {}

void Saves::now() {
  if (newest_ == state_.step || state_.step == 0) return;
  data_check_.wait_for_save();
  watchers_.heartbeat.beat(state_.step, RunStatus::saving);
  watchers_.metrics.sync();
  write_checkpoint(session_.folder->path(), checkpoint_contents(session_, state_, false));
  prune_checkpoints(session_.folder->path(), session_.config.train.keep_checkpoints, state_.step);
  newest_ = state_.step;
}

void Saves::write_copied(bool wait) {
  if (!copied_ || (!wait && !session_.backend->reached(copying_))) return;
  session_.backend->wait(copying_);
  writer_.submit(*std::exchange(copied_, std::nullopt));
}

void Saves::settle(bool wait) {
  write_copied(wait);
  if (writing_ < 0 || copied_ || (!wait && !writer_.idle())) return;
  const std::int64_t step = std::exchange(writing_, -1);
  try {
    writer_.wait();
    newest_ = step;
  } catch (const Error& error) {
    spdlog::error("{}", error.what());
    now();
  }
}

void Saves::begin() {
  settle(true);
  data_check_.wait_for_save();
  watchers_.progress.activity("saving");
  watchers_.heartbeat.beat(state_.step, RunStatus::saving);
  watchers_.metrics.sync();
  copying_ = session_.take_snapshot();
  copied_ = checkpoint_contents(session_, state_, true);
  writing_ = state_.step;
  write_copied(false);
}

}  // namespace bittern
