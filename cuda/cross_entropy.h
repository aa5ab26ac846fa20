// cross_entropy on plain pointers. The arguments' names and shapes are those of ops.h.
#pragma once

#include <cstdint>

#include "bittern/step_record.h"
#include "cuda/rows.h"

namespace bittern::cuda {

struct CrossEntropyArgs {
  Rows logits;
  const std::int32_t* targets;
  float *loss, *lse_squared;
  const float* scale;  ///< with backward
  std::int64_t rows;
  int cols;  ///< V
  float z_loss, softcap;
  bool backward;
  StepRecord* record;  ///< for faults, or null
  std::uint32_t op;    ///< this op's number in it
};
void cross_entropy(const CrossEntropyArgs& args, cudaStream_t stream);

}  // namespace bittern::cuda
