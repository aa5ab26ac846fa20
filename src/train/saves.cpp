#include "train/saves.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace bittern {

void checkpoint_now(Training& t, Watchers& watchers) {
  if (t.saved_step == t.state.step || t.state.step == 0) return;
  t.data_check->wait_for_save();
  watchers.heartbeat.beat(t.state.step, RunStatus::saving);
  watchers.metrics.sync();
  write_checkpoint(t.folder->path(), checkpoint_contents(t, false));
  prune_checkpoints(t.folder->path(), t.config.train.keep_checkpoints, t.state.step);
  t.saved_step = t.state.step;
}

void BackgroundSaves::settle(Training& t, Watchers& watchers, bool wait) {
  if (writing_ < 0 || (!wait && !writer_.idle())) return;
  const std::int64_t step = std::exchange(writing_, -1);
  try {
    writer_.wait();
    t.saved_step = step;
  } catch (const Error& error) {
    spdlog::error("{}", error.what());
    checkpoint_now(t, watchers);
  }
}

void BackgroundSaves::begin(Training& t, Watchers& watchers) {
  settle(t, watchers, true);
  t.data_check->wait_for_save();
  watchers.progress.activity("saving");
  watchers.heartbeat.beat(t.state.step, RunStatus::saving);
  watchers.metrics.sync();
  t.run->take_snapshot();
  writer_.submit(checkpoint_contents(t, true));
  writing_ = t.state.step;
}

}  // namespace bittern
