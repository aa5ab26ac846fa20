// set_up: from a config to a session whose weights are filled, and the state that its training goes on from.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "bittern/progress.h"
#include "bittern/trainer.h"
#include "train/session/session.h"

namespace bittern {

struct Training {
  std::unique_ptr<Session> session;
  TrainingState state;
};

/// Opens the data, plans, decides where to start, and fills the weights. When profiling there is no run folder, and the
/// weights are fresh.
Training set_up_training(RunConfig config, const TrainOptions& options, Console& console);

/// Says why a run failed, in its heartbeat and its log: whoever watches from outside would see "starting" for ever.
/// `step` is where the run stands. Nothing happens where the session has no folder yet.
void say_failed(const Session& session, std::int64_t step, std::string_view reason);

}  // namespace bittern
