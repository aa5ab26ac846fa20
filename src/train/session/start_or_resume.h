// start_or_resume: where a run begins: with fresh weights, with the weights of another model (--init), where a checkpoint
// of its own stopped, or where one of another run did (--fork); and the filling of its memory from there.
#pragma once

#include <optional>
#include <string>

#include "bittern/checkpoint.h"
#include "bittern/trainer.h"
#include "store/training_state.h"
#include "train/session/run_start.h"
#include "train/session/session.h"

namespace bittern {

/// Neither a checkpoint nor a folder in it: fresh weights.
struct StartingPoint {
  std::optional<Checkpoint> checkpoint;  ///< the run goes on from it: checked, open
  std::string init;                      ///< folder of the weights that a new run begins with: checked
  std::optional<Start> start;            ///< what the run's folder is to remember of how it was begun
  std::optional<Fork> fork;
};

/// Looks at the run's folder, at its start.json and at what the command asks for, and decides what the config leaves to
/// that (settle_residual_init). Throws where they contradict each other, and where the config or the data would make
/// another run of the one that the folder holds (same_run.h). The folder is left as it is.
StartingPoint where_to_start(Session& session, const TrainOptions& options);

/// Allocates the session's memory and fills its weights and moments. Returns the state that training goes on from.
TrainingState fill_weights(Session& session, const StartingPoint& start);

/// Writes start.json and, for a fork, fork.json: when nothing can refuse the start any more, so that a command that was
/// refused leaves nothing to remember.
void remember(const Session& session, const StartingPoint& start);

}  // namespace bittern
