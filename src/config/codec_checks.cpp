// Checks the keys of weights.* and optimizer.* against each other. Each forbidden combination is a Rule: a condition, and
// the sentence that refuses it.
#include "config/codec_checks.h"

#include <algorithm>
#include <array>
#include <vector>

#include "bittern/error.h"
#include "bittern/moment_choice.h"
#include "bittern/quant/state_codec.h"

namespace bittern::config {
namespace {

using nlohmann::json;

/// A sentence that is refused where it is true. Written without the origin.
struct Rule {
  bool broken;
  std::string sentence;
};

void refuse_broken(const std::vector<Rule>& rules, const std::string& origin) {
  for (const Rule& rule : rules)
    if (rule.broken) throw input_error("{}: {}", origin, rule.sentence);
}

template <typename Enum, std::size_t n>
std::string_view named(const std::array<std::string_view, n>& names, Enum value) {
  return names[static_cast<std::size_t>(value)];
}

bool is_logarithmic(std::string_view codec) {
  return find_state_codec(codec)->kind == StateKind::logarithmic;
}
bool is_logarithmic_anywhere(const StatesSection& states) {
  return is_logarithmic(states.v) || std::ranges::any_of(role_table, [&](const RoleInfo& row) {
           return is_logarithmic(second_moment_of(states, row.role).codec);
         });
}

std::vector<Rule> weight_rules(Role role, const WeightCodec& weight, const OptimizerSection& optimizer) {
  const std::string path = fmt::format("weights.{}", info(role).name);
  const UpdateRuleInfo& rule = info(rule_of(optimizer, role));
  const std::string_view codec = named(weight_storage_names, weight.storage);
  const std::string_view master = named(master_names, weight.master);
  const bool has_master = weight.master != Master::none, is_int = weight.storage == WeightStorage::integer;
  const bool stochastic = weight.rounding == Rounding::stochastic;
  const bool eco = weight.error_feedback == ErrorFeedback::eco;
  const auto unscaled = [&](const char* key, std::string_view value, std::string_view plain) {
    return Rule{
        !weight.quantized() && value != plain,
        fmt::format("{}.{} is {} with codec {}, which has no scales; set {} to {}, or codec to fp8_e4m3, int or "
                    "ternary",
                    path, key, value, codec, key, plain)};
  };
  return {
      {weight.bits != 8 && !is_int,
       fmt::format("{}.bits is {} with codec {}, whose number of bits is its own; set bits to 8, or codec to int", path,
                   weight.bits, codec)},
      {weight.range == IntegerRange::full && !is_int,
       fmt::format("{}.range is full with codec {}; only int has one code more below zero than above; set range to "
                   "symmetric, or codec to int",
                   path, codec)},
      unscaled("scale_per", named(scale_per_names, weight.scale_per), "row"),
      unscaled("scale_from", named(scale_from_names, weight.scale_from), "absmax"),
      unscaled("scale_update", named(scale_update_names, weight.scale_update), "every_step"),
      {has_master && bits_of(master_codec(weight).dtype()) <= bits_of(weight.dtype()),
       fmt::format("{}.master is {} with codec {}; a master is a copy of more bits than the weight has; set master to "
                   "none, or codec to one of fewer bits",
                   path, master, codec)},
      {has_master && weight.scale_update == ScaleUpdate::fixed,
       fmt::format("{}.scale_update is fixed with master {}; a master is free to leave the range of its first values, "
                   "and would be clipped; set scale_update to every_step, or master to none",
                   path, master)},
      {weight.quantized() && !has_master && weight.scale_from == ScaleFrom::absmean &&
           weight.scale_update == ScaleUpdate::every_step,
       fmt::format("{}.scale_from is absmean with scale_update every_step and no master; each step would clip at the "
                   "mean of what the step before has clipped, and the weights would vanish; set scale_update to fixed "
                   "(DQT), or master to f32 (BitNet)",
                   path)},
      {weight.master_rounding == Rounding::stochastic && (!has_master || weight.master == Master::f32),
       fmt::format("{}.master_rounding is stochastic with master {}, which is not rounded; set master_rounding to "
                   "nearest, or master to bf16 or fp8_e4m3",
                   path, master)},
      {stochastic && weight.storage == WeightStorage::f32,
       fmt::format(
           "{}.rounding is stochastic with codec f32; an f32 weight is not rounded; set rounding to nearest, or "
           "codec to one of fewer bits",
           path)},
      {stochastic && has_master && weight.storage == WeightStorage::bf16,
       fmt::format("{}.rounding is stochastic with master {}; the master keeps what rounding would lose; set master to "
                   "none or rounding to nearest",
                   path, master)},
      {eco && weight.storage == WeightStorage::f32,
       fmt::format("{}.error_feedback is eco with codec f32, which loses nothing; set error_feedback to none, or codec "
                   "to one of fewer bits",
                   path)},
      {eco && has_master,
       fmt::format("{}.error_feedback is eco with master {}, which keeps what rounding loses; set one of them to none",
                   path, master)},
      {eco && rule.sees_matrix,
       fmt::format(
           "{}.error_feedback is eco with optimizer.rule {}; what ECO injects is derived for rules that see one "
           "element at a time; set error_feedback to none, and rounding to stochastic",
           path, rule.name)},
      {eco && optimizer.beta1 == 0,
       fmt::format(
           "{}.error_feedback is eco and optimizer.betas[0] is 0; the error is kept in the first moment, which "
           "then forgets it at once (it is multiplied by 1 - 1 / betas[0]); set betas[0] above 0, such as 0.9, or "
           "error_feedback to none",
           path)},
  };
}

void check_weights(const RunConfig& config, const std::string& origin) {
  const WeightsSection& weights = config.weights;
  for (const RoleInfo& row : role_table)
    if (!row.takes_codec && weights[row.role].storage != WeightStorage::f32)
      throw input_error(
          "{}: weights.{}.codec is {}; expected f32: {}s are few, and their updates are too small for fewer bits; "
          "remove it",
          origin, row.name, named(weight_storage_names, weights[row.role].storage), row.name);
  const WeightCodec& head = weights[Role::head];
  if (config.model.tie_word_embeddings && head != WeightCodec{} && head != weights[Role::embedding])
    throw input_error(
        "{}: weights.head is not weights.embedding, but model.tie_word_embeddings is true: the head is the embedding; "
        "remove weights.head, or set tie_word_embeddings to false",
        origin);
  for (const RoleInfo& row : role_table)
    refuse_broken(weight_rules(row.role, weights[row.role], config.optimizer), origin);
}

void check_states(const RunConfig& config, const std::string& origin) {
  const StatesSection& states = config.optimizer.states;
  const EcoSection& eco = config.optimizer.eco;
  const UpdateRuleInfo& rule = update_rule_table[static_cast<std::size_t>(config.optimizer.rule)];
  const bool means = !has_codes(find_state_codec(states.v)->kind);
  const bool any_eco = std::ranges::any_of(
      config.weights.values, [](const WeightCodec& codec) { return codec.error_feedback == ErrorFeedback::eco; });
  const bool tied = config.model.tie_word_embeddings;
  refuse_broken(
      {
          {states.block % 8 != 0,
           fmt::format(
               "optimizer.states.block is {}; expected a multiple of 8: packed codes of a block start at a byte; "
               "set it to {}",
               states.block, std::max<std::int64_t>(8, states.block / 8 * 8))},
          {states.m_rounding == Rounding::stochastic && states.m == "f32" && states.head_m == "f32",
           "optimizer.states.m_rounding is stochastic with m f32, which is not rounded; set m_rounding to nearest, or "
           "m to a codec of fewer bits"},
          {states.v_rounding == Rounding::stochastic && states.v == "f32",
           "optimizer.states.v_rounding is stochastic with v f32, which is not rounded; set v_rounding to nearest, or "
           "v to a codec of fewer bits"},
          {states.v_rounding == Rounding::stochastic && means && states.on != StatesOn::all,
           fmt::format("optimizer.states.v_rounding is stochastic with v {}; a matrix then has f32 means, which are "
                       "not rounded, and on is {}, so nothing else is stored; set v_rounding to nearest",
                       states.v, named(states_on_names, states.on))},
          {states.quantile != StatesSection{}.quantile && !is_logarithmic_anywhere(states),
           fmt::format(
               "optimizer.states.quantile is {} with v {}; only log2, log3 and log4 have a level at a quantile; "
               "set quantile to {}, or v to one of them",
               states.quantile, states.v, StatesSection{}.quantile)},
          {states.head_m != StatesSection{}.head_m && tied,
           fmt::format(
               "optimizer.states.head_m is {}, but model.tie_word_embeddings is true: the head is the embedding, "
               "whose codec is m; set head_m to {}",
               states.head_m, StatesSection{}.head_m)},
          {states.head_m != StatesSection{}.head_m && !tied && states.on == StatesOn::linears,
           fmt::format(
               "optimizer.states.head_m is {} with on linears, which leaves the head out; set head_m to {}, or on "
               "to matrices",
               states.head_m, StatesSection{}.head_m)},
          {!any_rule(config.optimizer, &UpdateRuleInfo::has_second_moment) && states.v != "f32",
           fmt::format("optimizer.states.v is {} with rule {}, which has no second moment; set v to f32", states.v,
                       rule.name)},
          {eco.decay_factor && !any_eco,
           "optimizer.eco.decay_factor is true, but no weights.*.error_feedback is eco; set it to false, or "
           "error_feedback to eco"},
          {eco.cap > 0 && !any_eco,
           fmt::format(
               "optimizer.eco.cap is {}, but no weights.*.error_feedback is eco; set it to 0, or error_feedback "
               "to eco",
               eco.cap)},
          {eco.cap > 0 && !any_rule(config.optimizer, &UpdateRuleInfo::reads_adam_options),
           fmt::format(
               "optimizer.eco.cap is {} with rule {}; a cap is told in roots of adamw's second moment; set cap to 0",
               eco.cap, rule.name)},
      },
      origin);
}

/// What optimizer.states says of one role, one moment after the other.
std::vector<Rule> own_moment_rules(Role role, bool second, const RunConfig& config) {
  const StatesSection& states = config.optimizer.states;
  const RoleStates& of_role = states.roles[role];
  const MomentChoice choice = second ? second_moment_of(states, role) : first_moment_of(states, role);
  const UpdateRuleInfo& rule = info(rule_of(config.optimizer, role));
  const std::string path = fmt::format("optimizer.states.{}.{}", info(role).name, second ? "v" : "m");
  const OwnRounding rounding = second ? of_role.v_rounding : of_role.m_rounding;
  const std::string_view asked = named(own_rounding_names, rounding);
  const bool means = !has_codes(find_state_codec(choice.codec)->kind) && info(role).is_matrix;
  const bool stochastic = rounding == OwnRounding::stochastic;
  return {
      {second && choice.own && choice.codec != "f32" && !rule.has_second_moment,
       fmt::format("{} is {} with rule {}, which has no second moment; remove it", path, choice.codec, rule.name)},
      {stochastic && choice.codec == "f32",
       fmt::format(
           "{}_rounding is {} with {} f32, which is not rounded; set it to auto, or {} to a codec of fewer bits", path,
           asked, second ? "v" : "m", path)},
      {stochastic && means,
       fmt::format("{}_rounding is {} with v {}; a matrix then has f32 means, which are not rounded; set it to auto",
                   path, asked, choice.codec)},
  };
}

void check_states_of_roles(const RunConfig& config, const std::string& origin) {
  const ByRole<RoleStates>& roles = config.optimizer.states.roles;
  if (config.model.tie_word_embeddings && roles[Role::head] != RoleStates{})
    throw input_error(
        "{}: optimizer.states.head says how the head's moments are stored, but model.tie_word_embeddings is true: the "
        "head is the embedding; remove it, or set tie_word_embeddings to false",
        origin);
  for (const RoleInfo& row : role_table) {
    const std::int64_t block = roles[row.role].block;
    if (block % 8 != 0)
      throw input_error(
          "{}: optimizer.states.{}.block is {}; expected a multiple of 8: packed codes of a block start at a byte; set "
          "it to {}",
          origin, row.name, block, std::max<std::int64_t>(8, block / 8 * 8));
    for (const bool second : {false, true}) refuse_broken(own_moment_rules(row.role, second, config), origin);
  }
}

}  // namespace

void complete_codecs(RunConfig& config, const json& given) {
  const auto has = [&](const std::string& pointer) { return given.contains(json::json_pointer(pointer)); };
  for (const RoleInfo& row : role_table) {
    WeightCodec& codec = config.weights[row.role];
    const std::string section = fmt::format("/weights/{}/", row.name);
    const bool ternary = codec.storage == WeightStorage::ternary;
    if (ternary && !has(section + "scale_per")) codec.scale_per = ScalePer::tensor;
    if (ternary && !has(section + "scale_from")) codec.scale_from = ScaleFrom::absmean;
    if (codec.scale_from == ScaleFrom::absmean && codec.master == Master::none && !has(section + "scale_update"))
      codec.scale_update = ScaleUpdate::fixed;
  }
  StatesSection& states = config.optimizer.states;
  if (!has("/optimizer/states/v_rounding")) states.v_rounding = implied_rounding(*find_state_codec(states.v));
}

void check_codecs(const RunConfig& config, const std::string& origin) {
  check_weights(config, origin);
  check_states(config, origin);
  check_states_of_roles(config, origin);
}

}  // namespace bittern::config
