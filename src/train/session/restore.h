// restore: a run goes on with the tensors of a checkpoint.
#pragma once

#include <string>

#include "bittern/checkpoint.h"
#include "train/session/session.h"

namespace bittern {

/// What is not of the same name, type and shape among the checkpoint's tensors and the session's; empty: they fit. Needs
/// no memory of the session.
std::string other_tensors(const Session& session, const Checkpoint& checkpoint);

/// Fills weights, masters and moments from a checkpoint of the same model and codecs, bit for bit. Other tensors, and
/// values that no run could have written (stored_codes.h), are refused.
void restore(const Session& session, const Checkpoint& checkpoint);

}  // namespace bittern
