// The numbers of a step's record, and of loss sums, where they lie in the CPU's memory.
#pragma once

#include <cstdint>

#include "bittern/step_record.h"
#include "bittern/tensor.h"

namespace bittern::cpu {

inline StepRecord& record_at(const Tensor& record) {
  return *reinterpret_cast<StepRecord*>(record.as<std::uint8_t>());
}
inline LossSums& sums_at(const Tensor& sums) {
  return *reinterpret_cast<LossSums*>(sums.as<std::uint8_t>());
}

}  // namespace bittern::cpu
