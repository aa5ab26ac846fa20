// RunConfig: all options of a run, as plain values. What a run computes depends on them and on the data alone. Only
// src/config turns JSON into a RunConfig; no other code parses options. The table in src/config/table.cpp gives for each field its
// JSON path, its default, its range, its meaning, and what a changed value means when a run is resumed.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/dtype.h"
#include "bittern/model_spec.h"
#include "bittern/optim/update_rule.h"
#include "bittern/quant/weight_codec.h"
#include "bittern/role.h"

namespace bittern {

struct RunSection {
  std::string name = "run";
  std::int64_t seed = 1;
  std::string device = "auto";  ///< auto, cpu, cuda
  std::int64_t threads = 0;     ///< 0: one for every CPU of the process's affinity mask
};

struct DataSection {
  std::string path;        ///< folder made by `bittern prepare`, llm.c .bin, or Megatron prefix
  std::string valid_path;  ///< empty: the folder's validation split, if it has one
  std::int64_t sequence_length = 256;
  bool shuffle = true;
};

struct TrainSection {
  std::int64_t steps = 1000;
  std::int64_t batch_sequences = 8;
  std::int64_t micro_batch_sequences = 0;  ///< 0: batch_sequences
  std::int64_t evaluate_every = 100;       ///< steps between evaluations; 0: never, as for every interval below
  std::int64_t evaluate_sequences = 64;    ///< an evaluation reads at most so many; 0: the whole validation split
  std::int64_t statistics_every = 0;       ///< statistics of codes and moments, one set for each role
  std::int64_t sample_every = 0;
  std::int64_t sample_tokens = 64;
  std::string sample_prompt;
  std::int64_t checkpoint_every = 200;
  std::int64_t keep_checkpoints = 2;     ///< 0: all
  std::string snapshot = "auto";         ///< how a checkpoint is taken at an interval: auto, full, pieces
  std::int64_t max_skipped_steps = 10;   ///< the run stops after so many skipped steps in a row; a step is skipped if
                                         ///< its loss or gradient is not finite, or by skip_deviations
  double skip_deviations = 0.0;          ///< a step is skipped if its loss or norm is more than so many standard
                                         ///< deviations above its running mean; 0: no step is
  std::string recompute = "none";        ///< none, block
  bool fused_backward = false;           ///< a layer is updated as soon as its gradients are final; they are not kept
  std::string fused_clip = "last_norm";  ///< last_norm, exact
  double z_loss = 0.0;
  std::int64_t head_rows = 0;  ///< rows of logits in memory at a time; 0: chosen from the vocabulary's size
};

struct ScheduleSection {
  std::string shape = "cosine";  ///< constant, linear, cosine, wsd, two_stage
  double lr = 1e-3;
  std::int64_t warmup_steps = 0;     ///< used if warmup_fraction is 0
  double warmup_fraction = 0.0;      ///< the warm-up's share of train.steps
  double start_factor = 0.0;         ///< where the warm-up starts: the rate before the first step, divided by lr
  double final_factor = 0.1;         ///< the rate of the last step, divided by lr; used if final_lr is 0
  double final_lr = 0.0;             ///< the rate of the last step; 0: final_factor decides
  double decay_fraction = 0.2;       ///< wsd: the rate falls in this share of train.steps, the last ones
  double second_lr = 0.0;            ///< two_stage: what lr is in the second half of the steps
  double second_weight_decay = 0.1;  ///< two_stage: the decay in the second half; default: optimizer.weight_decay
};

/// Which parameters store their moments in the codecs of optimizer.states. All other parameters store them in f32.
enum class StatesOn : std::uint8_t {
  linears,   ///< the linear layers of the blocks
  matrices,  ///< these, the embedding and the head
  all        ///< every parameter: norms and biases too
};
inline constexpr std::array<std::string_view, 3> states_on_names = {"linears", "matrices", "all"};

/// How a moment of one role is rounded; automatic: as RoleStates and the role's codec say.
enum class OwnRounding : std::uint8_t { automatic, nearest, stochastic };
inline constexpr std::array<std::string_view, 3> own_rounding_names = {"auto", "nearest", "stochastic"};

/// optimizer.states.ROLE: how the moments of one role are stored. `auto` and 0: as optimizer.states says of all roles.
struct RoleStates {
  std::string m = "auto", v = "auto";
  std::int64_t block = 0;
  OwnRounding m_rounding = OwnRounding::automatic, v_rounding = OwnRounding::automatic;
  bool operator==(const RoleStates&) const = default;
};

/// optimizer.states: how moments are stored (quant/state_codec.h).
struct StatesSection {
  std::string m = "f32", v = "f32";  ///< names of state codecs
  std::int64_t block = 128;          ///< neighbouring elements that share one scale
  Rounding m_rounding = Rounding::nearest, v_rounding = Rounding::nearest;
  double quantile = 0.1;  ///< logarithmic codecs: the quantile of a block that the smallest level stands for
  StatesOn on = StatesOn::matrices;
  std::int64_t min_elements = 4096;  ///< a tensor of at most so many elements keeps f32 moments
  std::string head_m = "f32";        ///< the codec of the head's first moment; rounded to nearest in few bits
                                     ///< it can make a run diverge late
  ByRole<RoleStates> roles{};        ///< where a role differs
};

/// optimizer.eco: options for the injection, by which ECO adds a weight's rounding error to the first moment.
struct EcoSection {
  bool decay_factor = false;  ///< multiplies the injection by 1 - lr * weight_decay
  double cap = 0.0;           ///< adamw: the injection is at most cap * sqrt(v) in magnitude; 0: no limit
};

/// optimizer.muon: options of rule muon (optim/muon.h).
struct MuonSection {
  double momentum = 0.95;
  bool nesterov = true;
  std::int64_t steps = 5;                            ///< Newton-Schulz steps
  NewtonSchulz coefficients = NewtonSchulz::simple;  ///< of their polynomials
  double scale = 0.2;     ///< the direction is multiplied by scale * sqrt(max(rows, columns)) of the matrix
  bool per_head = false;  ///< each head of q, k and v is a matrix of its own
  bool operator==(const MuonSection&) const = default;
};

struct OptimizerSection {
  UpdateRule rule = UpdateRule::adamw;
  UpdateRule others = UpdateRule::adamw;  ///< rule muon: the rule of all that is no matrix of a block
  MuonSection muon{};
  double beta1 = 0.9, beta2 = 0.95;  ///< optimizer.betas
  double eps = 1e-8;
  double weight_decay = 0.1;
  std::string decay_on = "matrices";  ///< what decays. all: every parameter; matrices: all but norms and biases;
                                      ///< linears: the linear layers of the blocks
  double clip_grad_norm = 1.0;        ///< 0: no clipping
  StatesSection states{};
  EcoSection eco{};
};

/// What the inputs of the blocks' linear layers are rounded to. Each token (row) has its own scale. The backward pass
/// treats the rounding as the identity. compute: nothing is rounded.
enum class Activations : std::uint8_t { compute, fp8_e4m3_row, int8_token };
inline constexpr std::array<std::string_view, 3> activations_names = {"compute", "fp8_e4m3_row", "int8_token"};

struct PrecisionSection {
  DType compute = DType::bf16;   ///< the type of activations and of the operands of matrix products
  DType residual = DType::bf16;  ///< the type of the residual stream; default: that of compute
  Activations activations = Activations::compute;
};

/// The update rule of a role: a rule that sees the matrix updates the linears of the blocks, `others` all else.
inline UpdateRule rule_of(const OptimizerSection& optimizer, Role role) {
  return info(optimizer.rule).sees_matrix && !info(role).is_linear ? optimizer.others : optimizer.rule;
}

/// Whether a rule of some role says so of itself: the rule of the blocks' matrices or that of all else.
inline bool any_rule(const OptimizerSection& optimizer, bool UpdateRuleInfo::*fact) {
  return std::ranges::any_of(role_table, [&](const RoleInfo& row) { return info(rule_of(optimizer, row.role)).*fact; });
}

/// How the weights of each role are stored. In JSON, the name of a group of roles (block_linear) sets all its roles.
using WeightsSection = ByRole<WeightCodec>;

struct RunConfig {
  RunSection run;
  ModelSpec model;
  DataSection data;
  TrainSection train;
  ScheduleSection schedule;
  OptimizerSection optimizer;
  PrecisionSection precision;
  WeightsSection weights;
  std::vector<std::string> ignored_keys;  ///< keys of a pasted Hugging Face config that change nothing here

  std::int64_t micro_batch() const {
    return train.micro_batch_sequences > 0 ? train.micro_batch_sequences : train.batch_sequences;
  }
};

/// Reads FILE and the configs that it extends, then applies each setting `path.to.key=value` in order, then fills in the
/// defaults. Checks types, ranges and combinations. Throws an input_error that names the file, the JSON path, the value,
/// what is allowed, and, for an unknown key, the nearest known one.
RunConfig load_config(const std::string& file, std::span<const std::string> settings = {});

/// Like load_config, but reads the text `json`. Messages call the text `origin`.
RunConfig parse_config(std::string_view json, const std::string& origin, std::span<const std::string> settings = {});

/// Reads the text of a Hugging Face config.json, by the same rules as a `model` section that names such a file.
ModelSpec parse_model(std::string_view json, const std::string& origin);
/// The name of the class that transformers has for an architecture. It stands in `architectures` of a config.json.
std::string_view model_class_name(std::string_view architecture);

/// Every key with the value in use, as JSON. load_config reads this JSON back to an equal RunConfig.
std::string config_json(const RunConfig& config);
/// The JSON Schema of a config, and the reference page in Markdown. Both are made from the table of keys.
std::string config_schema();
std::string config_reference();

/// The keys whose values differ between two configs, each as "path: before -> after", by what the change means.
struct ConfigChange {
  std::vector<std::string> tensors;  ///< other tensors would be stored, or the same ones mean something else
  std::vector<std::string> run;      ///< another run, of the same tensors: resume refuses it, --fork makes it
  std::vector<std::string> notice;   ///< the same run: resume tells the user
};
/// `rates_stay`: the steps that are made already have the same rates and decays under both (same_rates, schedule.h).
ConfigChange compare_configs(const RunConfig& before, const RunConfig& after, bool rates_stay);

/// Counts changes of the config after which a config in an older checkpoint would be misread (src/config/migrations.cpp).
/// A checkpoint says with which it was made.
inline constexpr std::int64_t config_version = 2;
/// The effective config in a checkpoint of an older version, as today's program must read it: every key that is younger
/// than the checkpoint and whose default is not how the old program behaved has the value that it behaved by.
std::string migrated_config(const std::string& json, std::int64_t version);

/// Decides a model.residual_init that is "auto": a run that goes on keeps what `before`, the config in its checkpoint,
/// says; a run that begins (before = nullptr) takes what measured better.
void settle_residual_init(RunConfig& config, const RunConfig* before);

}  // namespace bittern
