// op_number: how a step's record names the op that met a wrong id (StepRecord::fault).
#pragma once

#include <cstdint>

#include "bittern/noted_call.h"

namespace bittern::cuda {

/// 1 + the op's place in OpArgs.
template <class Args>
constexpr std::uint32_t op_number() {
  std::uint32_t place = 0;
  while (op_at(place) != Args::name) ++place;
  return place + 1;
}

}  // namespace bittern::cuda
