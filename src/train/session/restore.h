// restore: a run goes on with the tensors of a checkpoint.
#pragma once

#include "bittern/checkpoint.h"
#include "train/session/session.h"

namespace bittern {

/// Fills weights, masters and moments from a checkpoint of the same model and codecs, bit for bit. Other tensors, and
/// values that no run could have written (stored_codes.h), are refused.
void restore(const Session& session, const Checkpoint& checkpoint);

}  // namespace bittern
