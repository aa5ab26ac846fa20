// The update rules by name. The element math of each is a header of its own; a new rule is such a header, a line here,
// and a line in each back end's table of kernels.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "bittern/optim/adafactor.h"
#include "bittern/optim/adamw.h"
#include "bittern/optim/muon.h"
#include "bittern/optim/sgdm.h"

namespace bittern {

enum class UpdateRule : std::uint8_t { adamw, sgdm, adafactor, muon };

struct UpdateRuleInfo {
  std::string_view name;  ///< in configs
  bool has_second_moment;
  bool clips_update;        ///< by the root mean square of the whole tensor's update
  bool reads_adam_options;  ///< betas[1], eps and eco.cap, as adamw does; false: it has no use for them
  bool sees_matrix;         ///< its direction is made of the whole matrix: it updates the blocks' matrices alone
  RuleConstants (*constants)(const RuleOptions& options, long long t);
};
inline constexpr auto update_rule_table = std::to_array<UpdateRuleInfo>({
    {"adamw", true, false, true, false, adamw_constants},
    {"sgdm", false, false, false, false, sgdm_constants},
    {"adafactor", true, true, false, false, adafactor_constants},
    {"muon", false, false, false, true, muon_constants},
});

constexpr const UpdateRuleInfo& info(UpdateRule rule) {
  return update_rule_table[static_cast<std::size_t>(rule)];
}

}  // namespace bittern
