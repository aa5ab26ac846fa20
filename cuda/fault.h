// fault: what a kernel does with an id (a token, a target) that the host should have refused. Memory is guarded, and the
// step's record says so: decide_step then skips the update, and the training loop tells op and row.
#pragma once

#include <cstdint>

#include "bittern/step_record.h"
#include "cuda/gpu.h"

namespace bittern::cuda {

/// record: of the step under way, or null before the first one. op: 1 + the place in OpArgs.
__device__ __forceinline__ void report_fault(StepRecord* record, std::uint32_t op, std::int64_t row) {
  if (record != nullptr && atomicCAS(&record->fault, 0u, op) == 0u) record->fault_at = row;
}

}  // namespace bittern::cuda
