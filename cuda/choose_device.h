// choose_device: which GPU a run gets, and the sentence where it can have none.
#pragma once

#include <string>

namespace bittern::cuda {

/// Makes this GPU the one of the calling thread and describes it: "cuda sm_90 NVIDIA H200".
std::string choose_device(int gpu);

}  // namespace bittern::cuda
