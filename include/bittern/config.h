// RunConfig: everything that a run is a function of, as plain values. src/config turns JSON into it, and nothing else
// parses options. The table in src/config/table.cpp gives each field its JSON path, default, range, meaning, and what a
// change of it means for a resume.
#pragma once

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
  std::int64_t threads = 0;     ///< 0: every CPU of the affinity mask
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
  std::int64_t evaluate_every = 100;       ///< intervals: 0 means never
  std::int64_t evaluate_sequences = 64;    ///< at most; 0: the whole validation split
  std::int64_t statistics_every = 0;       ///< of codes and moments, by role
  std::int64_t sample_every = 0;
  std::int64_t sample_tokens = 64;
  std::string sample_prompt;
  std::int64_t checkpoint_every = 200;
  std::int64_t keep_checkpoints = 2;    ///< 0: all
  std::int64_t max_skipped_steps = 10;  ///< skipped in a row (non-finite loss or gradient) before the run stops
  double skip_deviations = 0.0;         ///< a loss or norm so many above its running mean is skipped; 0: none is
  std::string recompute = "none";       ///< none, block
  double z_loss = 0.0;
  std::int64_t head_rows = 0;  ///< rows of logits at a time; 0: chosen from the vocabulary
};

struct ScheduleSection {
  std::string shape = "cosine";  ///< constant, linear, cosine, wsd, two_stage
  double lr = 1e-3;
  std::int64_t warmup_steps = 0;  ///< used where warmup_fraction is 0
  double warmup_fraction = 0.0;
  double start_factor = 0.0;         ///< the rate of the step before the first, as a part of lr
  double final_factor = 0.1;         ///< the rate of the last step, as a part of lr; used where final_lr is 0
  double final_lr = 0.0;             ///< the rate of the last step
  double decay_fraction = 0.2;       ///< wsd: the part of the steps in which the rate falls
  double second_lr = 0.0;            ///< two_stage: the peak of the second half's line
  double second_weight_decay = 0.1;  ///< two_stage: in the second half; default: optimizer.weight_decay
};

/// Which parameters have their moments in the codecs of optimizer.states; the others' are f32.
enum class StatesOn : std::uint8_t {
  linears,
  matrices,
  all
};  ///< block linears; and embedding and head; and norms, biases
inline constexpr std::array<std::string_view, 3> states_on_names = {"linears", "matrices", "all"};

/// optimizer.states: how moments are stored (quant/state_codec.h).
struct StatesSection {
  std::string m = "f32", v = "f32";  ///< names of state codecs
  std::int64_t block = 128;          ///< elements that share a scale
  Rounding m_rounding = Rounding::nearest, v_rounding = Rounding::nearest;
  double quantile = 0.1;  ///< of logarithmic codecs
  StatesOn on = StatesOn::matrices;
  std::int64_t min_elements = 4096;  ///< moments of a tensor of at most so many elements are f32
  std::string head_m = "f32";        ///< the head's first moment, whose nearest rounding diverges late in training
};

/// optimizer.eco: the published variants of the injection.
struct EcoSection {
  bool decay_factor = false;  ///< multiplies it by 1 - lr * weight_decay
  double cap = 0.0;           ///< limits its magnitude to this many times the root of v (adamw); 0: no limit
};

struct OptimizerSection {
  UpdateRule rule = UpdateRule::adamw;
  double beta1 = 0.9, beta2 = 0.95;  ///< optimizer.betas
  double eps = 1e-8;
  double weight_decay = 0.1;
  std::string decay_on = "matrices";  ///< all; matrices: not norms and biases; linears: not embedding and head either
  double clip_grad_norm = 1.0;        ///< 0: no clipping
  StatesSection states{};
  EcoSection eco{};
};

/// What the inputs of the block linears are rounded to, a token at a time; backward passes straight through.
enum class Activations : std::uint8_t { compute, fp8_e4m3_row, int8_token };
inline constexpr std::array<std::string_view, 3> activations_names = {"compute", "fp8_e4m3_row", "int8_token"};

struct PrecisionSection {
  DType compute = DType::bf16;   ///< of the GEMMs' operands and of activations
  DType residual = DType::bf16;  ///< of the residual stream; default: compute's
  Activations activations = Activations::compute;
};

/// How the weights of each role are stored. In JSON a group of roles (block_linear) sets all its roles at once.
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
  std::vector<std::string> ignored_keys;  ///< inert keys of a pasted Hugging Face config

  std::int64_t micro_batch() const {
    return train.micro_batch_sequences > 0 ? train.micro_batch_sequences : train.batch_sequences;
  }
};

/// Reads FILE with its `extends` chain, applies each `path.to.key=value`, fills defaults, checks types, ranges and
/// combinations. Throws an input_error that names file, JSON path, value, what is allowed, and the nearest known name.
RunConfig load_config(const std::string& file, std::span<const std::string> settings = {});

/// The same from JSON text; `origin` names it in messages.
RunConfig parse_config(std::string_view json, const std::string& origin, std::span<const std::string> settings = {});

/// The model of a Hugging Face config.json, by the same rules as a `model` section that names one.
ModelSpec parse_model(std::string_view json, const std::string& origin);
/// What transformers calls the class of an architecture, for a config.json's `architectures`.
std::string_view model_class_name(std::string_view architecture);

/// Every key with its effective value, as JSON that load_config reads back to the same RunConfig.
std::string config_json(const RunConfig& config);
/// The JSON Schema, and the reference page in Markdown; both from the table.
std::string config_schema();
std::string config_reference();

/// What a change between two configs means for a resume: `refuse` lists "path: before -> after" of keys that make
/// another run, `notice` of keys that may change.
struct ConfigChange {
  std::vector<std::string> refuse, notice;
};
ConfigChange compare_for_resume(const RunConfig& before, const RunConfig& after);

}  // namespace bittern
