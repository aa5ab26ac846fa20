// The rows. Upper bounds keep every product that a run computes (parameters, activations, tokens) inside 64 bits
// together with the checks of checks.cpp, and counters that address random numbers inside 32.
#include "config/table.h"

#include <algorithm>
#include <utility>

#include "bittern/error.h"
#include "bittern/quant/state_codec.h"

namespace bittern::config {
namespace {

constexpr double most_u32 = 4294967295.0;
constexpr double most_count = 2147483647.0;
constexpr Range none{};
constexpr Range intervals{0, most_count};
constexpr Range text{0, 4096};
constexpr Range factor{0, 1};

const std::vector<std::string_view> float_names = {"f32", "bf16"};
template <std::size_t n>
std::vector<std::string_view> list(const std::array<std::string_view, n>& names) {
  return {names.begin(), names.end()};
}

/// `for_all_roles`: those that can update every parameter.
std::vector<std::string_view> rule_names(bool for_all_roles) {
  std::vector<std::string_view> names;
  for (const UpdateRuleInfo& row : update_rule_table)
    if (!for_all_roles || !row.sees_matrix) names.push_back(row.name);
  return names;
}
std::vector<std::string_view> state_names(bool StateCodecInfo::*suits, std::vector<std::string_view> names = {}) {
  for (const StateCodecInfo& row : state_codec_table)
    if (row.*suits) names.push_back(row.name);
  return names;
}

// clang-format off
// The keys of a role, or of a group of roles (whose first role then stands for them).
template <Role role>
void add_role(std::vector<Key>& rows, std::string_view name, bool group) {
  using C = RunConfig&;
  // Rounding and error feedback change how tensors are updated; everything else, which tensors there are.
  const auto add = [&](const char* key, Field (*field)(C), Range range, std::vector<std::string_view> names, const char* meaning, std::string_view derived = {}, Resume resume = Resume::tensors) {
    rows.push_back({fmt::format("weights.{}.{}", name, key), field, range, std::move(names), resume, meaning, derived, group});
  };
  add("codec", [](C c) -> Field { return choice(c.weights[role].storage); }, none, list(weight_storage_names),
      "How the weights are stored between steps; int: whole numbers of `bits` bits times a scale; ternary: -1, 0, 1 times a scale.");
  add("bits", [](C c) -> Field { return &c.weights[role].bits; }, {2, 8}, {}, "int: bits of a code.");
  add("range", [](C c) -> Field { return choice(c.weights[role].range); }, none, list(integer_range_names),
      "int: codes from -(2^(bits-1) - 1) (symmetric) or from -2^(bits-1) (full), up to 2^(bits-1) - 1.");
  add("scale_per", [](C c) -> Field { return choice(c.weights[role].scale_per); }, none, list(scale_per_names),
      "What shares a scale.", "`\"row\"`; ternary: `\"tensor\"`");
  add("scale_from", [](C c) -> Field { return choice(c.weights[role].scale_from); }, none, list(scale_from_names),
      "What becomes the highest code: the largest or the mean magnitude.", "`\"absmax\"`; ternary: `\"absmean\"`");
  add("scale_update", [](C c) -> Field { return choice(c.weights[role].scale_update); }, none, list(scale_update_names),
      "When scales are made: anew at every step, or once, from the initial weights.",
      "`\"every_step\"`; absmean without master: `\"fixed\"`");
  add("master", [](C c) -> Field { return choice(c.weights[role].master); }, none, list(master_names),
      "A copy in more bits, which is what the optimizer updates.");
  add("master_rounding", [](C c) -> Field { return choice(c.weights[role].master_rounding); }, none, list(rounding_names),
      "How an updated master is rounded, where it is not f32.", {}, Resume::identity);
  add("rounding", [](C c) -> Field { return choice(c.weights[role].rounding); }, none, list(rounding_names),
      "How an updated weight is rounded to what is stored.", {}, Resume::identity);
  add("error_feedback", [](C c) -> Field { return choice(c.weights[role].error_feedback); }, none, list(error_feedback_names),
      "eco: what rounding loses goes into the first moment (arXiv 2601.22101).", {}, Resume::identity);
}

// The same for optimizer.states.
template <Role role>
void add_states_of_role(std::vector<Key>& rows, std::string_view name, bool group) {
  using C = RunConfig&;
  using enum Resume;
  const auto add = [&](const char* key, Field (*field)(C), Range range, std::vector<std::string_view> names, Resume resume, const char* meaning) {
    rows.push_back({fmt::format("optimizer.states.{}.{}", name, key), field, range, std::move(names), resume, meaning, {}, group});
  };
  add("m", [](C c) -> Field { return &c.optimizer.states.roles[role].m; }, none, state_names(&StateCodecInfo::for_first_moment, {"auto"}), tensors,
      "How the first moment is stored, whatever the tensor's size; auto: as optimizer.states says of all roles.");
  add("v", [](C c) -> Field { return &c.optimizer.states.roles[role].v; }, none, state_names(&StateCodecInfo::for_second_moment, {"auto"}), tensors,
      "The same of the second moment.");
  add("block", [](C c) -> Field { return &c.optimizer.states.roles[role].block; }, {0, 65536}, {}, tensors,
      "Elements of a row that share a scale; 0: optimizer.states.block.");
  add("m_rounding", [](C c) -> Field { return choice(c.optimizer.states.roles[role].m_rounding); }, none, list(own_rounding_names), identity,
      "How the first moment is rounded; auto: optimizer.states.m_rounding, or nearest where the role has its own m.");
  add("v_rounding", [](C c) -> Field { return choice(c.optimizer.states.roles[role].v_rounding); }, none, list(own_rounding_names), identity,
      "How the second moment is rounded; auto: optimizer.states.v_rounding, or, where the role has its own v, nearest, and stochastic for logN and zip_de4.");
}

// The groups first, each as its first role, then the roles. `Keys`: add_role or add_states_of_role.
template <class Keys, std::size_t... i>
void add_roles(Keys add, std::index_sequence<i...>) {
  const auto add_group = [&]<Role role>() {
    const std::string_view group = info(role).group;
    if (!group.empty() && roles_of(group).front() == role) add.template operator()<role>(group, true);
  };
  (add_group.template operator()<role_table[i].role>(), ...);
  (add.template operator()<role_table[i].role>(role_table[i].name, false), ...);
}

std::vector<Key> make_rows() {
  using enum Resume;
  using C = RunConfig&;
  std::vector<Key> rows = {
    {"run.name", [](C c) -> Field { return &c.run.name; }, {1, 128}, {}, notice,
     "Names the run in reports; letters, digits, '.', '_' and '-'."},
    {"run.seed", [](C c) -> Field { return &c.run.seed; }, {0, most_u32}, {}, identity,
     "Of the initial weights, the order of the data, and stochastic rounding."},
    {"run.device", [](C c) -> Field { return &c.run.device; }, none, {"auto", "cpu", "cuda"}, notice,
     "Where to compute; auto takes a GPU where there is one."},
    {"run.threads", [](C c) -> Field { return &c.run.threads; }, {0, 4096}, {}, silent,
     "CPU threads; 0: one per CPU that the process may use. Changes no result."},

    {"model.architecture", [](C c) -> Field { return &c.model.architecture; }, none, architecture_names(), tensors,
     "The family; mistral is llama by another name, qwen2 is llama with biases on q, k, v, qwen3 is llama with norms on queries and keys, bitnet is llama with norms before o_proj and down_proj; gemma2 and gemma3_text have norms after attention and MLP too, gelu, and windows in most layers. Hugging Face's model_type and architectures say the same."},
    {"model.vocab_size", [](C c) -> Field { return &c.model.vocab_size; }, {0, 16777216}, {}, tensors,
     "Rows of the embedding and of the head; 0: the data's. May be larger than the data's."},
    {"model.hidden_size", [](C c) -> Field { return &c.model.hidden_size; }, {1, 262144}, {}, tensors,
     "Width of the residual stream."},
    {"model.num_hidden_layers", [](C c) -> Field { return &c.model.num_hidden_layers; }, {1, 4096}, {}, tensors,
     "Blocks."},
    {"model.num_attention_heads", [](C c) -> Field { return &c.model.num_attention_heads; }, {1, 4096}, {}, tensors,
     "Query heads."},
    {"model.num_key_value_heads", [](C c) -> Field { return &c.model.num_key_value_heads; }, {1, 4096}, {}, tensors,
     "Key and value heads, each shared by as many query heads.", "model.num_attention_heads"},
    {"model.head_dim", [](C c) -> Field { return &c.model.head_dim; }, {2, 256}, {}, tensors,
     "Width of a head; even. qwen3, gemma2 and gemma3_text need it.", "model.hidden_size / model.num_attention_heads"},
    {"model.intermediate_size", [](C c) -> Field { return &c.model.intermediate_size; }, {1, 1048576}, {}, tensors,
     "Width inside the MLP."},
    {"model.max_position_embeddings", [](C c) -> Field { return &c.model.max_position_embeddings; }, {1, 16777216}, {}, notice,
     "The longest sequence the model is meant for."},
    {"model.rope_theta", [](C c) -> Field { return &c.model.rope_theta; }, {0, 1e12, true}, {}, identity,
     "Base of the rotary embedding's wavelengths."},
    {"model.rope_scaling.rope_type", [](C c) -> Field { return choice(c.model.rope_scaling.rope_type); }, none, list(rope_type_names), identity,
     "default: as rope_theta says; llama3: low frequencies divided by factor, high ones kept, those between changed by degrees (LLaMA 3.1); linear: all frequencies divided by factor (Gemma 3: in layers that see all positions)."},
    {"model.rope_scaling.factor", [](C c) -> Field { return &c.model.rope_scaling.factor; }, {1, 1e6}, {}, identity,
     "llama3: what low frequencies are divided by; linear: what all are divided by."},
    {"model.rope_scaling.low_freq_factor", [](C c) -> Field { return &c.model.rope_scaling.low_freq_factor; }, {0, 1e6, true}, {}, identity,
     "llama3: a frequency is low if it turns fewer times within original_max_position_embeddings."},
    {"model.rope_scaling.high_freq_factor", [](C c) -> Field { return &c.model.rope_scaling.high_freq_factor; }, {0, 1e6, true}, {}, identity,
     "llama3: and high if it turns more often than this."},
    {"model.rope_scaling.original_max_position_embeddings", [](C c) -> Field { return &c.model.rope_scaling.original_max_position_embeddings; }, {1, 16777216}, {}, identity,
     "llama3: the positions that the model was trained on before."},
    {"model.sliding_window", [](C c) -> Field { return &c.model.sliding_window; }, {0, 16777216}, {}, identity,
     "mistral, gemma2, gemma3_text: positions that a token attends to, itself among them; 0: all."},
    {"model.sliding_window_pattern", [](C c) -> Field { return &c.model.sliding_window_pattern; }, {0, 4096}, {}, identity,
     "Of so many layers the last one attends to all positions, the others to sliding_window; 0: every layer to sliding_window. Hugging Face's layer_types says the same.", "gemma2: 2, gemma3_text: 6, else 0"},
    {"model.rope_local_base_freq", [](C c) -> Field { return &c.model.rope_local_base_freq; }, {0, 1e12}, {}, identity,
     "gemma3_text: rope_theta of the layers with a window, which rope_scaling does not change; 0: as the others.", "gemma3_text: 10000, else 0"},
    {"model.query_pre_attn_scalar", [](C c) -> Field { return &c.model.query_pre_attn_scalar; }, {0, 1e6}, {}, identity,
     "gemma2, gemma3_text: scores are divided by its square root.", "model.head_dim for these, else 0"},
    {"model.attn_logit_softcapping", [](C c) -> Field { return &c.model.attn_logit_softcapping; }, {0, 1e6}, {}, identity,
     "gemma2: scores become cap * tanh(scores / cap); 0: they stay.", "gemma2: 50, else 0"},
    {"model.final_logit_softcapping", [](C c) -> Field { return &c.model.final_logit_softcapping; }, {0, 1e6}, {}, identity,
     "gemma2, gemma3_text: the same of the logits.", "gemma2: 30, else 0"},
    {"model.rms_norm_eps", [](C c) -> Field { return &c.model.rms_norm_eps; }, {1e-30, 1}, {}, identity,
     "Added to the mean square in every norm."},
    {"model.initializer_range", [](C c) -> Field { return &c.model.initializer_range; }, {0, 10, true}, {}, identity,
     "Standard deviation of the initial weights."},
    {"model.residual_init", [](C c) -> Field { return choice(c.model.residual_init); }, none, list(residual_init_names), identity,
     "How o_proj and down_proj begin. plain: as other weights; scaled: smaller by 1/sqrt(2 * num_hidden_layers); auto: scaled in a new run, what it had in a run that goes on. RUN/config.json says which."},
    {"model.tie_word_embeddings", [](C c) -> Field { return &c.model.tie_word_embeddings; }, none, {}, tensors,
     "The head is the embedding.", "true for gemma2 and gemma3_text, else false"},
    {"model.attention_bias", [](C c) -> Field { return &c.model.attention_bias; }, none, {}, tensors,
     "Biases on q, k, v; follows from the architecture.", "true for qwen2"},
    {"model.qk_norm", [](C c) -> Field { return &c.model.qk_norm; }, none, {}, tensors,
     "A norm of every query and key head; follows from the architecture.", "true for qwen3 and gemma3_text"},
    {"model.sub_norm", [](C c) -> Field { return &c.model.sub_norm; }, none, {}, tensors,
     "A norm of what o_proj and down_proj read; follows from the architecture.", "true for bitnet"},

    {"data.path", [](C c) -> Field { return &c.data.path; }, text, {}, notice,
     "A folder made by `bittern prepare`, a llm.c .bin, or a Megatron prefix; relative to the current folder."},
    {"data.valid_path", [](C c) -> Field { return &c.data.valid_path; }, text, {}, notice,
     "The same for validation.", "the folder's validation split, if it has one"},
    {"data.sequence_length", [](C c) -> Field { return &c.data.sequence_length; }, {1, 4194304}, {}, identity,
     "Tokens per sequence."},
    {"data.shuffle", [](C c) -> Field { return &c.data.shuffle; }, none, {}, identity,
     "Visit the sequences in another order every epoch; false: as they lie in the file."},

    {"train.steps", [](C c) -> Field { return &c.train.steps; }, {1, most_u32}, {}, rates,
     "Optimizer steps of the whole run."},
    {"train.batch_sequences", [](C c) -> Field { return &c.train.batch_sequences; }, {1, 1048576}, {}, identity,
     "Sequences per step."},
    {"train.micro_batch_sequences", [](C c) -> Field { return &c.train.micro_batch_sequences; }, {0, 1048576}, {}, notice,
     "Sequences in memory at a time, a divisor of batch_sequences; 0: all. Less needs less memory. The last bits of results depend on it."},
    {"train.evaluate_every", [](C c) -> Field { return &c.train.evaluate_every; }, intervals, {}, notice,
     "Steps between validation losses; 0: never."},
    {"train.evaluate_sequences", [](C c) -> Field { return &c.train.evaluate_sequences; }, intervals, {}, notice,
     "At most so many sequences per validation; 0: the whole split."},
    {"train.statistics_every", [](C c) -> Field { return &c.train.statistics_every; }, intervals, {}, notice,
     "Steps between lines about what codes do: rounding errors, changed and saturated codes, ranges of moments; 0: never."},
    {"train.sample_every", [](C c) -> Field { return &c.train.sample_every; }, intervals, {}, notice,
     "Steps between samples of text; 0: never."},
    {"train.sample_tokens", [](C c) -> Field { return &c.train.sample_tokens; }, {1, 4194304}, {}, notice,
     "Tokens of a sample."},
    {"train.sample_prompt", [](C c) -> Field { return &c.train.sample_prompt; }, {0, 65536}, {}, notice,
     "What a sample goes on from."},
    {"train.checkpoint_every", [](C c) -> Field { return &c.train.checkpoint_every; }, intervals, {}, notice,
     "Steps between checkpoints, and one at the end; 0: only that one."},
    {"train.keep_checkpoints", [](C c) -> Field { return &c.train.keep_checkpoints; }, intervals, {}, silent,
     "The newest so many are kept; 0: all."},
    {"train.snapshot", [](C c) -> Field { return &c.train.snapshot; }, none, {"auto", "full", "pieces"}, silent,
     "How a checkpoint is taken at an interval. full: all of it is copied at once and written beside training; pieces: training pauses while it is written, a piece at a time, without a copy; auto: full where the memory suffices."},
    {"train.max_skipped_steps", [](C c) -> Field { return &c.train.max_skipped_steps; }, intervals, {}, notice,
     "The run stops when so many steps in a row were skipped because the loss or a gradient was not finite or beyond skip_deviations; 0: never."},
    {"train.skip_deviations", [](C c) -> Field { return &c.train.skip_deviations; }, {0, 1000}, {}, notice,
     "A step is skipped when its loss or gradient norm is so many standard deviations above the running mean of the last hundred updates; 0: none is. The mean does not follow what is skipped: after a lasting rise every step is, until max_skipped_steps in a row end the run, and for ever where that is 0."},
    {"train.recompute", [](C c) -> Field { return &c.train.recompute; }, none, {"none", "block"}, silent,
     "block: keep only the input of every block and compute the rest again in backward; less memory, the same bits."},
    {"train.fused_backward", [](C c) -> Field { return &c.train.fused_backward; }, none, {}, identity,
     "Update the weights of a layer as soon as its gradients are final, while backward still runs, so that gradients of one layer exist at a time. Needs the whole batch in one micro-batch."},
    {"train.fused_clip", [](C c) -> Field { return &c.train.fused_clip; }, none, {"last_norm", "exact"}, identity,
     "fused_backward: how clip_grad_norm works. last_norm: by the mean norm of earlier updates, or by the norm of the step's gradients so far where that is larger; exact: forward and backward run twice, first for the norm, in twice the time."},
    {"train.z_loss", [](C c) -> Field { return &c.train.z_loss; }, {0, 1}, {}, identity,
     "Coefficient of the squared log of the softmax's denominator, added to the loss."},
    {"train.head_rows", [](C c) -> Field { return &c.train.head_rows; }, {0, 16777216}, {}, notice,
     "Rows of logits that exist at a time; 0: chosen from the vocabulary. The last bits of results depend on it."},

    {"schedule.shape", [](C c) -> Field { return &c.schedule.shape; }, none, {"constant", "linear", "cosine", "wsd", "two_stage"}, rates,
     "How the rate falls after the warm-up; wsd: constant, then linear over the last decay_fraction; two_stage: linear, in the second half of the steps on the line that falls from second_lr (BitNet b1.58)."},
    {"schedule.lr", [](C c) -> Field { return &c.schedule.lr; }, {0, 100, true}, {}, rates,
     "The highest learning rate."},
    {"schedule.warmup_steps", [](C c) -> Field { return &c.schedule.warmup_steps; }, {0, most_u32}, {}, rates,
     "Steps in which the rate rises; or give warmup_fraction."},
    {"schedule.warmup_fraction", [](C c) -> Field { return &c.schedule.warmup_fraction; }, factor, {}, rates,
     "The same as a part of train.steps."},
    {"schedule.start_factor", [](C c) -> Field { return &c.schedule.start_factor; }, factor, {}, rates,
     "The rate that the warm-up starts from, as a part of lr."},
    {"schedule.final_factor", [](C c) -> Field { return &c.schedule.final_factor; }, factor, {}, rates,
     "The rate of the last step, as a part of lr; or give final_lr."},
    {"schedule.final_lr", [](C c) -> Field { return &c.schedule.final_lr; }, {0, 100}, {}, rates,
     "The same as a rate; 0: lr * final_factor."},
    {"schedule.decay_fraction", [](C c) -> Field { return &c.schedule.decay_fraction; }, factor, {}, rates,
     "wsd: the part of train.steps in which the rate falls."},
    {"schedule.second_lr", [](C c) -> Field { return &c.schedule.second_lr; }, {0, 100}, {}, rates,
     "two_stage: what lr is for the second half of the steps; it needs one above 0."},
    {"schedule.second_weight_decay", [](C c) -> Field { return &c.schedule.second_weight_decay; }, {0, 100}, {}, rates,
     "two_stage: the weight decay in the second half of the steps.", "optimizer.weight_decay"},

    {"optimizer.rule", [](C c) -> Field { return choice(c.optimizer.rule); }, none, rule_names(false), tensors,
     "The update rule; adamw is PyTorch's, decoupled decay and place of eps included, but that decay and step are one subtraction, so that a small decay is not rounded away. muon updates the blocks' matrices, and `others` all else."},
    {"optimizer.others", [](C c) -> Field { return choice(c.optimizer.others); }, none, rule_names(true), tensors,
     "muon: the rule of the embedding, the head, norms and biases."},
    {"optimizer.betas", [](C c) -> Field { return std::array{&c.optimizer.beta1, &c.optimizer.beta2}; }, {0, 1, false, true}, {}, identity,
     "Decay of the first and of the second moment; the latter is adamw's alone. muon has muon.momentum instead."},
    {"optimizer.eps", [](C c) -> Field { return &c.optimizer.eps; }, {1e-30, 1}, {}, identity,
     "adamw: added to the root of the second moment."},
    {"optimizer.weight_decay", [](C c) -> Field { return &c.optimizer.weight_decay; }, {0, 100}, {}, identity,
     "Decoupled: every step takes lr * weight_decay of the weight away."},
    {"optimizer.decay_on", [](C c) -> Field { return &c.optimizer.decay_on; }, none, {"all", "matrices", "linears"}, identity,
     "What decays: all; matrices: not norms and biases; linears: not the embedding and the head either."},
    {"optimizer.clip_grad_norm", [](C c) -> Field { return &c.optimizer.clip_grad_norm; }, {0, 1e9}, {}, identity,
     "Gradients are scaled down to this global norm; 0: never. What is left above 1e19, whose square would overflow, is skipped as not finite."},
    {"optimizer.states.m", [](C c) -> Field { return &c.optimizer.states.m; }, none, state_names(&StateCodecInfo::for_first_moment), tensors,
     "How the first moment is stored."},
    {"optimizer.states.v", [](C c) -> Field { return &c.optimizer.states.v; }, none, state_names(&StateCodecInfo::for_second_moment), tensors,
     "How the second moment is stored; deN and sqrt8 have a zero here, deN_no_zero and linearN do not. zip_de4 is de4, rounded so that the mean of 1 / (sqrt(v) + eps) stays. row_mean is one v for each row of a matrix: each token, in an embedding."},
    {"optimizer.states.block", [](C c) -> Field { return &c.optimizer.states.block; }, {8, 65536}, {}, tensors,
     "Elements of a row that share a scale; a multiple of 8."},
    {"optimizer.states.m_rounding", [](C c) -> Field { return choice(c.optimizer.states.m_rounding); }, none, list(rounding_names), identity,
     "How the first moment is rounded."},
    {"optimizer.states.v_rounding", [](C c) -> Field { return choice(c.optimizer.states.v_rounding); }, none, list(rounding_names), identity,
     "How the second moment is rounded.", "`\"nearest\"`; logN and zip_de4: `\"stochastic\"`"},
    {"optimizer.states.quantile", [](C c) -> Field { return &c.optimizer.states.quantile; }, {0, 1, true, true}, {}, identity,
     "logN: the quantile of a block that its lowest level stands for."},
    {"optimizer.states.on", [](C c) -> Field { return choice(c.optimizer.states.on); }, none, list(states_on_names), tensors,
     "Whose moments these codecs store: linears: of the block's linears; matrices: of embedding and head too; all: of norms and biases too. Others are f32."},
    {"optimizer.states.min_elements", [](C c) -> Field { return &c.optimizer.states.min_elements; }, {0, most_u32}, {}, tensors,
     "Moments of a tensor of at most so many elements are f32."},
    {"optimizer.states.head_m", [](C c) -> Field { return &c.optimizer.states.head_m; }, none, state_names(&StateCodecInfo::for_first_moment), tensors,
     "How the head's first moment is stored where `on` includes it: rounded to nearest in 4 bits it can diverge late in training."},
    {"optimizer.muon.momentum", [](C c) -> Field { return &c.optimizer.muon.momentum; }, {0, 1, true, true}, {}, identity,
     "muon: decay of the first moment of the blocks' matrices."},
    {"optimizer.muon.nesterov", [](C c) -> Field { return &c.optimizer.muon.nesterov; }, none, {}, identity,
     "muon: whether the direction is made of the moment one step ahead."},
    {"optimizer.muon.steps", [](C c) -> Field { return &c.optimizer.muon.steps; }, {1, 32}, {}, identity,
     "muon: Newton-Schulz steps that make the direction."},
    {"optimizer.muon.coefficients", [](C c) -> Field { return choice(c.optimizer.muon.coefficients); }, none, list(newton_schulz_names), identity,
     "muon: the polynomials of these steps: simple: one for all; polar_express: the best for each, singular values end nearer to 1; deepseek: simple, but the last two draw to 1 (give 10 steps)."},
    {"optimizer.muon.scale", [](C c) -> Field { return &c.optimizer.muon.scale; }, {0, 100, true}, {}, identity,
     "muon: the direction is multiplied by scale * sqrt(max(rows, columns)); 0.2 makes updates as large as adamw's, so that its rates carry over."},
    {"optimizer.muon.per_head", [](C c) -> Field { return &c.optimizer.muon.per_head; }, none, {}, identity,
     "muon: whether each head of q, k and v is a matrix of its own."},
    {"optimizer.eco.decay_factor", [](C c) -> Field { return &c.optimizer.eco.decay_factor; }, none, {}, identity,
     "Whether what ECO injects is multiplied by 1 - lr * weight_decay."},
    {"optimizer.eco.cap", [](C c) -> Field { return &c.optimizer.eco.cap; }, {0, 1e9}, {}, identity,
     "Limits what ECO injects to so many times the root of the second moment; 0: no limit."},

    {"precision.compute", [](C c) -> Field { return &c.precision.compute; }, none, float_names, identity,
     "Of the matrix products' operands and of activations; sums are f32 always."},
    {"precision.residual", [](C c) -> Field { return &c.precision.residual; }, none, float_names, identity,
     "Of the residual stream.", "precision.compute"},
    {"precision.activations", [](C c) -> Field { return choice(c.precision.activations); }, none, list(activations_names), identity,
     "What the inputs of the block linears are rounded to, each token by its own scale; gradients pass straight through."},
  };
  constexpr auto every_role = std::make_index_sequence<role_count>();
  add_roles([&]<Role role>(std::string_view name, bool group) { add_states_of_role<role>(rows, name, group); }, every_role);
  add_roles([&]<Role role>(std::string_view name, bool group) { add_role<role>(rows, name, group); }, every_role);
  return rows;
}

struct SectionMeaning {
  std::string path, meaning;
};

// The objects in `section` that hold something by role, the groups first.
void add_role_sections(std::vector<SectionMeaning>& rows, std::string_view section) {
  for (const RoleInfo& row : role_table)
    if (!row.group.empty() && roles_of(row.group).front() == row.role) {
      std::vector<std::string_view> names;
      for (const Role role : roles_of(row.group)) names.push_back(info(role).name);
      rows.push_back({fmt::format("{}.{}", section, row.group), fmt::format("The group of {}.", joined(names, " and "))});
    }
  for (const RoleInfo& row : role_table) rows.push_back({fmt::format("{}.{}", section, row.name), std::string(row.meaning)});
}

std::vector<SectionMeaning> make_sections() {
  std::vector<SectionMeaning> rows = {
    {"run", "The run as a whole."},
    {"model", "What the model is, in Hugging Face's words. A config.json can be pasted here or named by path: \"model\": \"path/config.json\", or {\"from\": \"path/config.json\", ...} with keys that win over the file's; the path is relative to the file that names it. Keys that `transformers` writes and that change nothing here are accepted and listed as ignored."},
    {"model.rope_scaling", "How the rotary embedding is stretched to longer sequences."},
    {"data", "What it learns from."},
    {"train", "How long, how much at a time, and what happens at intervals."},
    {"schedule", "The learning rate of every step."},
    {"optimizer", "How gradients become updates."},
    {"optimizer.states", "How the optimizer's moments are stored: of all roles, and, in an object by the name of a role or a group, where one differs."},
    {"optimizer.muon", "Rule muon: momentum made orthogonal, for the matrices of the blocks."},
    {"optimizer.eco", "Variants of ECO's error feedback (weights.*.error_feedback)."},
    {"precision", "What the arithmetic's operands are."},
  };
  add_role_sections(rows, "optimizer.states");
  rows.push_back({"weights", "How weights are stored, by role or by group of roles. Within one file a role wins over its group."});
  add_role_sections(rows, "weights");
  return rows;
}

const std::vector<SectionMeaning>& section_meanings() {
  static const std::vector<SectionMeaning> rows = make_sections();
  return rows;
}
// clang-format on

std::string parent(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return std::string(path.substr(0, dot == std::string_view::npos ? 0 : dot));
}

}  // namespace

std::vector<Role> roles_of(std::string_view group) {
  std::vector<Role> roles;
  for (const RoleInfo& row : role_table)
    if (row.group == group) roles.push_back(row.role);
  return roles;
}

std::span<const Key> keys() {
  static const std::vector<Key> rows = make_rows();
  return rows;
}

const Key* find_key(std::string_view path) {
  const auto found = std::ranges::find(keys(), path, &Key::path);
  return found == keys().end() ? nullptr : &*found;
}

const std::vector<std::string>& sections() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> found;
    for (const SectionMeaning& row : section_meanings()) found.push_back(row.path);
    return found;
  }();
  return all;
}

std::string_view section_meaning(std::string_view section) {
  const auto found = std::ranges::find(section_meanings(), section, &SectionMeaning::path);
  return found == section_meanings().end() ? std::string_view{} : found->meaning;
}

std::vector<std::string> members(std::string_view section) {
  std::vector<std::string> found;
  const auto add = [&](const std::string& path) {
    if (parent(path) == section) found.push_back(path.substr(section.empty() ? 0 : section.size() + 1));
  };
  for (const std::string& path : sections()) add(path);
  for (const Key& key : keys()) add(key.path);
  return found;
}

std::string expected(const Key& key) {
  if (!key.names.empty()) {
    if (key.names.size() == 1) return fmt::format("\"{}\"", key.names.front());
    return fmt::format("one of {}", joined(key.names, ", "));
  }
  const Range& range = key.range;
  const Field where = field(key, RunConfig{});
  if (std::holds_alternative<std::int64_t*>(where))
    return fmt::format("a whole number from {} to {}", static_cast<std::int64_t>(range.least),
                       static_cast<std::int64_t>(range.most));
  if (std::holds_alternative<bool*>(where)) return "true or false";
  if (std::holds_alternative<std::string*>(where))
    return fmt::format("a text of {} to {} bytes", static_cast<std::int64_t>(range.least),
                       static_cast<std::int64_t>(range.most));
  const std::string bounds = fmt::format("{} {} and {} {}", range.open_least ? "above" : "of at least", range.least,
                                         range.open_most ? "below" : "at most", range.most);
  return std::holds_alternative<double*>(where) ? "a number " + bounds : "an array of two numbers, each " + bounds;
}

}  // namespace bittern::config
