// The ops on a step's record, on plain pointers: begin_step, add_losses, norm_of_parts, decide_step, decide_bucket (ops.h).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "bittern/step_record.h"

namespace bittern::cuda {

void begin_step(StepRecord* record, cudaStream_t stream);

/// sums += those of loss, lse_squared, targets (rows).
void add_losses(LossSums* sums, const float* loss, const float* lse_squared, const std::int32_t* targets,
                std::int64_t rows, cudaStream_t stream);

/// norm (2) from parts (count).
void norm_of_parts(float* norm, const double* parts, std::int64_t count, float max_norm, cudaStream_t stream);

/// shares (count), `stride` bytes apart.
struct Shares {
  const void* data;
  std::int64_t stride, count;
};
void decide_step(StepRecord* record, const Shares& shares, float deviations, cudaStream_t stream);

struct BucketDecision {
  std::int64_t bucket;
  bool first, last;
  float max_norm, deviations;
};
void decide_bucket(StepRecord* record, const BucketDecision& args, cudaStream_t stream);

}  // namespace bittern::cuda
