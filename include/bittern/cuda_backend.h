// make_cuda_backend: the back end that runs on an NVIDIA GPU. Which one a program gets is chosen when it is linked: the one
// for GPUs, the same on the emulated device of the tests, or one that says that this program has none.
#pragma once

#include <memory>

#include "bittern/backend.h"

namespace bittern {

struct CudaOptions {
  int gpu = 0;      ///< among those that CUDA_VISIBLE_DEVICES shows
  int threads = 0;  ///< of the host, for what it encodes; 0: all CPUs of the affinity mask
  /// For a plan alone: no GPU and no driver is needed, and nothing can be allocated.
  bool plan_only = false;
};

/// Throws a sentence for the user where there is no GPU that bittern can run on.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options);

}  // namespace bittern
