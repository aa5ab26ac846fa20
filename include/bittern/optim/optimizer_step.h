// optimizer_step: the update of one parameter, a panel of rows at a time:
//   decode weight and states into fp32 scratch -> update rule -> encode weight -> encode states
// Three independent choices: the rule's element math is a header of its own (adamw.h); how a stored weight or state becomes
// fp32 and how it is rounded back are functions of the back end (decode, encode in src/ops/cpu/optimizer_step.cpp).
#pragma once

#include <cstdint>

#include "bittern/optim/adamw.h"
#include "bittern/quant/philox.h"
#include "bittern/tensor.h"

namespace bittern {

enum class Rounding : std::uint8_t { nearest, stochastic };

struct OptimizerStep {
  Tensor weight;    ///< f32 or bf16: what forward and backward read
  Tensor master;    ///< f32, or empty: the weight itself is what is updated
  Tensor m, v;      ///< moments, f32 or bf16, stored rounded to nearest
  Tensor gradient;  ///< f32
  Tensor clip;      ///< f32: element 1 is the factor for the gradient (see global_norm)
  AdamwConstants constants;
  Rounding weight_rounding = Rounding::nearest;
  PhiloxKey key;  ///< of Purpose::weight_rounding
  std::uint32_t step = 0;
  std::uint32_t tensor_id = 0;  ///< position in the model's parameter table
};

}  // namespace bittern
