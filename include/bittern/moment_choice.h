// How the moments of a role are stored: what optimizer.states says of all roles, and what it says of one.
#pragma once

#include <string>
#include <string_view>

#include "bittern/config.h"
#include "bittern/quant/state_codec.h"

namespace bittern {

/// How a moment of a role is stored, after optimizer.states and optimizer.states.ROLE.
struct MomentChoice {
  std::string_view codec;
  Rounding rounding;
  std::int64_t block;
  bool own;  ///< the role has a codec of its own, which stores all its tensors: min_elements is for the codecs of all
};

namespace moment_choice {

/// Whether the codecs of optimizer.states store the role's moments.
inline bool stores(StatesOn on, const RoleInfo& role) {
  return on == StatesOn::all || role.is_linear || (on == StatesOn::matrices && role.is_matrix);
}

inline MomentChoice choose(const StatesSection& states, Role role, const std::string& shared, Rounding shared_rounding,
                           const std::string& own, OwnRounding own_rounding) {
  const RoleStates& of_role = states.roles[role];
  MomentChoice choice{.codec = stores(states.on, info(role)) ? std::string_view(shared) : "f32",
                      .rounding = shared_rounding,
                      .block = of_role.block > 0 ? of_role.block : states.block,
                      .own = own != "auto"};
  if (choice.own) {
    choice.codec = own;
    choice.rounding = implied_rounding(*find_state_codec(own));
  }
  if (own_rounding != OwnRounding::automatic)
    choice.rounding = own_rounding == OwnRounding::nearest ? Rounding::nearest : Rounding::stochastic;
  return choice;
}

}  // namespace moment_choice

inline MomentChoice first_moment_of(const StatesSection& states, Role role) {
  return moment_choice::choose(states, role, role == Role::head ? states.head_m : states.m, states.m_rounding,
                               states.roles[role].m, states.roles[role].m_rounding);
}

inline MomentChoice second_moment_of(const StatesSection& states, Role role) {
  return moment_choice::choose(states, role, states.v, states.v_rounding, states.roles[role].v,
                               states.roles[role].v_rounding);
}

}  // namespace bittern
