// Ops that no kernel serves yet. A line goes when its op has a file.
#include "bittern/error.h"
#include "cuda/backend.h"

namespace bittern::cuda {
namespace {

[[noreturn]] void missing(std::string_view op) {
  throw failure("{}: the CUDA back end has no kernel for it yet; set run.device to \"cpu\"", op);
}

}  // namespace

void CudaBackend::do_optimizer_steps(std::span<const OptimizerStep>) {
  missing(OptimizerStep::name);
}

}  // namespace bittern::cuda
