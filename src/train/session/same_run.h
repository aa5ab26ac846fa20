// same_run: what a run that goes on from a checkpoint must share with the run that wrote it. Resuming refuses what would
// make another run; forking makes it, and refuses only what would store other tensors.
#pragma once

#include "bittern/checkpoint.h"
#include "store/training_state.h"
#include "train/session/run_start.h"
#include "train/session/session.h"

namespace bittern {

/// Takes over what the session's config leaves to the run that goes on (model.residual_init). Refuses a checkpoint of
/// another run, and advises what works then; says what else differs.
void check_same_run(Session& session, const Checkpoint& checkpoint, const TrainerRecord& record);

/// The same for a new run that begins from the checkpoint. Says what it changes and, where that decides it, which sample
/// of the data comes next.
Fork check_fork(Session& session, const Checkpoint& checkpoint, const TrainerRecord& record);

}  // namespace bittern
