// role_memory: what the parameters of each role take, split as the papers split it: codes, their scales, master,
// moments, gradient. Sums over the plan's tensors, so it is what is allocated and, but for gradients, what a checkpoint
// holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/session/session.h"

namespace bittern {

struct RoleMemory {
  Role role{};
  std::string codec;  ///< "fp8_e4m3", "int 4", ...
  std::int64_t parameters = 0;
  std::int64_t weight = 0, scales = 0, master = 0, m = 0, v = 0,
               gradient = 0;  ///< bytes; the last four with their scales

  std::int64_t states() const { return m + v; }
  /// All that lasts from step to step. Gradients are left out, as in the papers: they need not, without accumulation.
  std::int64_t kept() const { return weight + scales + master + states(); }
  double per_parameter(std::int64_t bytes) const {
    return static_cast<double>(bytes) / static_cast<double>(parameters);
  }
};

/// The roles that the model has, in the order of Role.
std::vector<RoleMemory> role_memory(const Session& session);

/// Their sum: of the whole model, or of the linears of its blocks alone. Its `role` means nothing, its `codec` is empty.
RoleMemory sum_of_roles(const std::vector<RoleMemory>& roles, bool linears_alone);

}  // namespace bittern
