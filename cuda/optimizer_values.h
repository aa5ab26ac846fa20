// optimizer_values on plain pointers: the update of a parameter all of whose parts are stored as values.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "bittern/dtype.h"
#include "bittern/optim/rule_constants.h"
#include "bittern/quant/philox.h"
#include "bittern/step_record.h"

namespace bittern::cuda {

/// Elements that are f32 or bf16, and how they are rounded when they are stored.
struct Values {
  void* data;  ///< null: not kept
  DType dtype;
  bool stochastic;
};

enum class ElementRule : std::uint8_t { adamw, sgdm };

struct OptimizerValuesArgs {
  Values weight, master, m, v;
  const float* gradient;
  const StepRecord* record;  ///< or null: the update is made, of the gradient as it is, with the first of the constants
  UpdateConstants constants;
  ElementRule rule;
  bool eco;
  std::uint32_t seed, step, tensor_id;
  std::int64_t count, first_element;  ///< the number of the first one in the whole tensor
};
void optimizer_values(const OptimizerValuesArgs& args, cudaStream_t stream);

}  // namespace bittern::cuda
