// scratch_for: the bytes of scratch that a call needs, for the instruction set and the number of threads in use. It reads
// shapes and types, no memory: what an op asks for when it runs is what the plan counted when the call was noted.
// Each is defined beside its op.
#pragma once

#include <cstdint>

#include "bittern/ops.h"

namespace bittern::cpu {

/// Most ops need none.
template <class Args>
std::int64_t scratch_for(const Args&) {
  return 0;
}
std::int64_t scratch_for(const ResidualRmsnormForward& args);
std::int64_t scratch_for(const ResidualRmsnormBackward& args);
std::int64_t scratch_for(const QkNormRopeBackward& args);
std::int64_t scratch_for(const AttentionForward& args);
std::int64_t scratch_for(const AttentionBackward& args);
std::int64_t scratch_for(const AttentionCached& args);
std::int64_t scratch_for(const GluForward& args);
std::int64_t scratch_for(const GluBackward& args);
std::int64_t scratch_for(const BiasBackward& args);
std::int64_t scratch_for(const CrossEntropy& args);
std::int64_t scratch_for(const OptimizerStep& args);

}  // namespace bittern::cpu
