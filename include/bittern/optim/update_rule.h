// The update rules by name, and the constants of one update. The element math of each is a header of its own.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "bittern/optim/adamw.h"

namespace bittern {

enum class UpdateRule : std::uint8_t { adamw };

struct UpdateRuleInfo {
  std::string_view name;  ///< in configs
  bool has_second_moment;
};
inline constexpr std::array<UpdateRuleInfo, 1> update_rule_table = {{{"adamw", true}}};

/// What an update needs beside the parameter's own tensors.
struct RuleConstants {
  AdamwConstants adamw;
};

}  // namespace bittern
