// scratch_for: the bytes of scratch that a call needs. It reads shapes and types, no memory, and depends on no GPU: what an
// op asks for when it runs is what the plan counted when the call was noted. Each is defined beside its op.
#pragma once

#include <cstdint>

#include "bittern/ops.h"

namespace bittern::cuda {

/// Most ops need none.
template <class Args>
std::int64_t scratch_for(const Args&) {
  return 0;
}
std::int64_t scratch_for(const ResidualRmsnormBackward& args);
std::int64_t scratch_for(const QkNormRopeBackward& args);
std::int64_t scratch_for(const AttentionBackward& args);
std::int64_t scratch_for(const BiasBackward& args);
std::int64_t scratch_for(const SquareParts& args);

}  // namespace bittern::cuda
