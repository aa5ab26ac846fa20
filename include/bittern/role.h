// Role: what a parameter is for. This table holds every fact that differs by role, and nothing else does: the config,
// checks, statistics, the plan's report, export and the optimizer read it. A new role is a new row.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bittern {

/// A bias has the role norm: it is small, stored as f32, and not decayed.
enum class Role : std::uint8_t { embedding, head, norm, attention_linear, mlp_linear };

struct RoleInfo {
  Role role;
  std::string_view name;     ///< in configs, metrics and plans
  std::string_view group;    ///< the key of `weights` that sets all roles of the group at once; empty: no group
  std::string_view meaning;  ///< for the reference page
  bool is_linear;            ///< the weight of a linear layer inside a block
  bool is_matrix;            ///< a linear, the embedding, or the head
  bool takes_codec;          ///< may be stored in few bits; false: it is f32 in every run
  bool decayed;              ///< by weight decay, where optimizer.decay_on has its default
  bool updated;              ///< by the update rule; false: something else changes it
};

inline constexpr auto role_table = std::to_array<RoleInfo>({
    {Role::embedding, "embedding", "", "The embedding (and the head, where it is tied).", false, true, true, true,
     true},
    {Role::head, "head", "", "The head, where it is not tied.", false, true, true, true, true},
    {Role::norm, "norm", "", "Norm weights and biases: f32.", false, false, false, false, true},
    {Role::attention_linear, "attention_linear", "block_linear", "q, k, v and o projections.", true, true, true, true,
     true},
    {Role::mlp_linear, "mlp_linear", "block_linear", "gate, up and down projections.", true, true, true, true, true},
});
inline constexpr std::size_t role_count = role_table.size();

constexpr const RoleInfo& info(Role role) {
  return role_table[static_cast<std::size_t>(role)];
}
static_assert(std::ranges::all_of(role_table, [](const RoleInfo& row) { return &info(row.role) == &row; }),
              "the rows of role_table stand in the order of Role");

/// Empty where no role has that name.
constexpr std::optional<Role> find_role(std::string_view name) {
  const auto found = std::ranges::find(role_table, name, &RoleInfo::name);
  return found == role_table.end() ? std::nullopt : std::optional(found->role);
}

/// One T for every role.
template <typename T>
struct ByRole {
  std::array<T, role_count> values{};

  constexpr T& operator[](Role role) { return values[static_cast<std::size_t>(role)]; }
  constexpr const T& operator[](Role role) const { return values[static_cast<std::size_t>(role)]; }
};

}  // namespace bittern
