// initialize_from: the weights of a checkpoint or of a Hugging Face folder, however they are stored, into a run of any
// codecs.
//   codes of the run's own codec   are taken as they are, with their scales
//   everything else                becomes fp32 (widened, or code * scale) and is encoded by the run's codec
// A master, where the run has one, is encoded from the fp32 values. For a bit-exact resume see restore().
#pragma once

#include <string>

#include "train/session/session.h"

namespace bittern {

/// `folder`: one whose bytes checkpoint_folder() has checked, or Hugging Face's.
void initialize_from(const Session& session, const std::string& folder);

}  // namespace bittern
