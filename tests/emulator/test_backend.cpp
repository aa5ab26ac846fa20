// Adds the CUDA back end on the emulated device to the back ends that the case tables can be run on.
#include "bittern/cuda_backend.h"
#include "ops/case_tables.h"

namespace bittern {
namespace {

[[maybe_unused]] const bool added = [] {
  test_backends().push_back({"cuda_emulated", [] { return make_cuda_backend({}); }});
  return true;
}();

}  // namespace
}  // namespace bittern
