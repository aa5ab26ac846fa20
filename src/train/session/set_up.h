// set_up: from a config to a session whose weights are filled, and the state that its training goes on from.
#pragma once

#include <memory>

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

}  // namespace bittern
