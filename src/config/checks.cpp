// Checks what the keys of a config must be true of together, and fills in the defaults that follow from other keys (the
// key and value heads, head_dim, precision.residual, ...). A broken rule is an input_error that names the keys, their
// values, and what to change.
#include "config/checks.h"

#include <algorithm>

#include "bittern/error.h"
#include "config/codec_checks.h"
#include "config/table.h"

namespace bittern::config {
namespace {

using nlohmann::json;

bool has(const json& given, const char* section, const char* key) {
  const auto found = given.find(section);
  return found != given.end() && found->contains(key);
}

void check_run(const RunSection& run, const std::string& origin) {
  const bool plain = std::ranges::all_of(run.name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
  if (!plain || run.name.starts_with('.') || run.name.starts_with('-'))
    throw input_error(
        "{}: run.name is \"{}\"; expected letters, digits, '.', '_' and '-', the first a letter or a digit: it "
        "names a folder",
        origin, run.name);
}

void check_train(const RunConfig& config, const std::string& origin) {
  const TrainSection& train = config.train;
  if (train.batch_sequences % config.micro_batch() != 0)
    throw input_error(
        "{}: train.micro_batch_sequences is {}; expected a divisor of train.batch_sequences, which is {}; change one "
        "of them, or set micro_batch_sequences to 0 for the whole batch at once",
        origin, train.micro_batch_sequences, train.batch_sequences);
  if (train.fused_backward && config.micro_batch() != train.batch_sequences)
    throw input_error(
        "{}: train.fused_backward is true with train.micro_batch_sequences {} of train.batch_sequences {}; expected the "
        "whole batch in one micro-batch: a layer's gradients are used up before the next micro-batch could add to them; "
        "set micro_batch_sequences to 0 (train.recompute saves memory too), or fused_backward to false",
        origin, train.micro_batch_sequences, train.batch_sequences);
  if (!train.fused_backward && train.fused_clip != TrainSection{}.fused_clip)
    throw input_error(
        "{}: train.fused_clip is {} with train.fused_backward false, which does not use it; set it to {}, or "
        "fused_backward to true",
        origin, train.fused_clip, TrainSection{}.fused_clip);
  if (config.data.sequence_length > config.model.max_position_embeddings)
    throw input_error(
        "{}: data.sequence_length is {}; expected at most model.max_position_embeddings, which is {}; shorten the "
        "sequences or raise it",
        origin, config.data.sequence_length, config.model.max_position_embeddings);
}

void check_schedule(const RunConfig& config, const std::string& origin) {
  const ScheduleSection& schedule = config.schedule;
  if (schedule.warmup_steps > 0 && schedule.warmup_fraction > 0)
    throw input_error(
        "{}: schedule.warmup_steps is {} and schedule.warmup_fraction is {}; expected one of them; set the other to 0",
        origin, schedule.warmup_steps, schedule.warmup_fraction);
  if (schedule.warmup_steps > config.train.steps)
    throw input_error(
        "{}: schedule.warmup_steps is {}; expected at most train.steps, which is {}; lower it, or use "
        "schedule.warmup_fraction",
        origin, schedule.warmup_steps, config.train.steps);
  if (schedule.shape == "wsd") {
    const double warmup = schedule.warmup_fraction > 0
                              ? schedule.warmup_fraction
                              : static_cast<double>(schedule.warmup_steps) / static_cast<double>(config.train.steps);
    if (warmup + schedule.decay_fraction > 1.0)
      throw input_error(
          "{}: schedule.decay_fraction is {} and the warm-up takes {:.3g} of the steps; expected a sum of at most 1; "
          "lower one of them",
          origin, schedule.decay_fraction, warmup);
  }
  const bool two_stage = schedule.shape == "two_stage";
  if (two_stage && schedule.second_lr == 0)
    throw input_error(
        "{}: schedule.second_lr is not given; schedule.shape two_stage needs it: the second half of the steps is on "
        "the line that falls from it; set it (BitNet b1.58: two thirds of schedule.lr)",
        origin);
  if (!two_stage && schedule.second_lr > 0)
    throw input_error(
        "{}: schedule.second_lr is {} with schedule.shape {}, which has one stage; set shape to two_stage or second_lr "
        "to 0",
        origin, schedule.second_lr, schedule.shape);
  if (two_stage && schedule.second_lr > schedule.lr)
    throw input_error(
        "{}: schedule.second_lr is {}; expected at most schedule.lr, which is {}: the second stage is the lower one; "
        "lower it (BitNet b1.58: two thirds of schedule.lr)",
        origin, schedule.second_lr, schedule.lr);
  const double lowest_peak = two_stage ? schedule.second_lr : schedule.lr;
  const char* const lowest_name = two_stage ? "schedule.second_lr" : "schedule.lr";
  if (schedule.final_lr > lowest_peak)
    throw input_error(
        "{}: schedule.final_lr is {}; expected at most {}, which is {}: the rate falls; lower it, or set it to 0 and "
        "give schedule.final_factor",
        origin, schedule.final_lr, lowest_name, lowest_peak);
  if (schedule.final_lr == 0 && schedule.lr * schedule.final_factor > lowest_peak)
    throw input_error(
        "{}: schedule.final_factor is {}, which ends at {:.4g}; expected at most {}, which is {}: the rate falls; "
        "lower it, or give schedule.final_lr",
        origin, schedule.final_factor, schedule.lr * schedule.final_factor, lowest_name, lowest_peak);
}

// What has the value of its default may stand in any config: the one that a run writes down has every key.
void check_rule(const OptimizerSection& optimizer, const std::string& origin) {
  const UpdateRuleInfo& rule = info(optimizer.rule);
  if (!rule.sees_matrix && (optimizer.others != OptimizerSection{}.others || optimizer.muon != MuonSection{}))
    throw input_error(
        "{}: optimizer.{} is given with rule {}, which has one rule for all parameters; remove it, or set rule to muon",
        origin, optimizer.muon != MuonSection{} ? "muon" : "others", rule.name);
  if (any_rule(optimizer, &UpdateRuleInfo::reads_adam_options)) return;
  const auto refuse_other = [&](const char* key, double value, double plain) {
    if (value != plain)
      throw input_error("{}: optimizer.{} is {} with rule {}, which does not use it; set it to {}, or rule to adamw",
                        origin, key, value, rule.name, plain);
  };
  refuse_other("betas[1]", optimizer.beta2, OptimizerSection{}.beta2);
  refuse_other("eps", optimizer.eps, OptimizerSection{}.eps);
}

// The table bounds each size; this bounds their products, so that everything later may multiply without looking.
void check_products(const RunConfig& config, const std::string& origin) {
  const ModelSpec& model = config.model;
  const auto real = [](std::int64_t value) { return static_cast<double>(value); };
  const double width = real(model.hidden_size), attention = real(model.query_cols()) + 2 * real(model.key_value_cols()),
               mlp = 3 * real(model.intermediate_size), layers = real(model.num_hidden_layers);
  const double parameters = 2 * real(model.vocab_size) * width + layers * width * (2 * attention + mlp + 4);
  const double rows = real(config.micro_batch()) * real(config.data.sequence_length);
  const double activations = rows * layers * (8 * width + 4 * attention + 2 * mlp);
  const double tokens =
      real(config.train.steps) * real(config.train.batch_sequences) * real(config.data.sequence_length);
  const struct {
    double count, most;
    const char *what, *keys;
  } products[] = {
      {parameters, 0x1p48, "parameters", "model.hidden_size, num_hidden_layers, intermediate_size or vocab_size"},
      {rows, 0x1p31, "tokens in a micro-batch", "train.micro_batch_sequences or data.sequence_length"},
      {activations, 0x1p56, "numbers in activations", "train.micro_batch_sequences or data.sequence_length"},
      {tokens, 0x1p62, "tokens in the run", "train.steps, train.batch_sequences or data.sequence_length"}};
  for (const auto& product : products)
    if (product.count > product.most)
      throw input_error("{}: asks for {:.3g} {}; expected at most {:.3g}, so that sizes fit into 64 bits; lower {}",
                        origin, product.count, product.what, product.most, product.keys);
}

/// What Gemma's families have and the others have not.
void complete_gemma(ModelSpec& model, const json& given, const Architecture& architecture, const Origin& origin) {
  const auto path = [&](std::string_view key) { return origin.path("model." + std::string(key)); };
  const auto take = [&](const char* key, auto& value, auto of_family, bool has) {
    if (!given.contains(key)) value = of_family;
    if (value != 0 && !has)
      throw input_error("{}: {} is {}; expected 0: architecture {} has none; remove it, or choose another architecture",
                        origin.name, path(key), value, model.architecture);
  };
  const bool gemma3 = architecture.rope_local_base_freq > 0;
  take("sliding_window_pattern", model.sliding_window_pattern, architecture.sliding_window_pattern, architecture.gemma);
  take("rope_local_base_freq", model.rope_local_base_freq, architecture.rope_local_base_freq, gemma3);
  take("query_pre_attn_scalar", model.query_pre_attn_scalar, architecture.gemma ? model.head_dim : 0,
       architecture.gemma);
  take("final_logit_softcapping", model.final_logit_softcapping, architecture.final_logit_softcapping,
       architecture.gemma);
  if (gemma3 && model.attn_logit_softcapping != 0)
    throw input_error(
        "{}: {} is {}; expected null or 0: transformers passes over it in a {}, so that a model trained with it would be "
        "another one there; remove it, or set {} to gemma2",
        origin.name, path("attn_logit_softcapping"), model.attn_logit_softcapping, model.architecture,
        path("architecture"));
  take("attn_logit_softcapping", model.attn_logit_softcapping, architecture.attn_logit_softcapping, architecture.gemma);
  if (!given.contains("tie_word_embeddings")) model.tie_word_embeddings = architecture.gemma;
  if (architecture.gemma && model.query_pre_attn_scalar == 0)
    throw input_error("{}: {} is 0; expected a number above 0, by whose square root scores are divided; set it to {}",
                      origin.name, path("query_pre_attn_scalar"), model.head_dim);
}

}  // namespace

void complete_model(ModelSpec& model, const json& given, const Origin& origin) {
  const auto path = [&](std::string_view key) { return origin.path("model." + std::string(key)); };
  const Architecture& architecture = *std::ranges::find(architectures(), model.architecture, &Architecture::name);
  const auto implied = [&](const char* key, bool& value, bool wanted, const char* what, const char* with) {
    if (given.contains(key) && value != wanted)
      throw input_error("{}: {} is {}, but architecture {} has {}{}; remove the key, or set {} to {}", origin.name,
                        path(key), value, model.architecture, wanted ? "" : "no ", what, path("architecture"),
                        value ? with : "llama");
    value = wanted;
  };
  implied("attention_bias", model.attention_bias, architecture.attention_bias, "biases on q, k, v (alone)", "qwen2");
  implied("qk_norm", model.qk_norm, architecture.qk_norm, "norms on queries and keys", "qwen3");
  implied("sub_norm", model.sub_norm, architecture.sub_norm, "norms before o_proj and down_proj", "bitnet");

  if (model.num_key_value_heads == 0) model.num_key_value_heads = model.num_attention_heads;
  if (model.num_attention_heads % model.num_key_value_heads != 0)
    throw input_error(
        "{}: {} is {} and {} is {}; expected a multiple of it, as every key head serves as many query heads; change "
        "one of them",
        origin.name, path("num_attention_heads"), model.num_attention_heads, path("num_key_value_heads"),
        model.num_key_value_heads);
  if (model.head_dim == 0) {
    if (architecture.head_dim != 0)
      throw input_error("{}: {} is not given; architecture {} needs it; set it (hidden_size / heads is {})",
                        origin.name, path("head_dim"), model.architecture,
                        model.hidden_size / model.num_attention_heads);
    if (model.hidden_size % model.num_attention_heads != 0)
      throw input_error(
          "{}: {} is {} and {} is {}; expected a multiple of it where {} is not given; change one of them, or give "
          "head_dim",
          origin.name, path("hidden_size"), model.hidden_size, path("num_attention_heads"), model.num_attention_heads,
          path("head_dim"));
    model.head_dim = model.hidden_size / model.num_attention_heads;
  }
  if (model.head_dim % 2 != 0 || model.head_dim > 256)
    throw input_error("{}: {} is {}{}; expected an even number of at most 256, as rotary embedding turns pairs; {}",
                      origin.name, path("head_dim"), model.head_dim,
                      given.contains("head_dim")
                          ? ""
                          : fmt::format(" (hidden_size {} / {} heads)", model.hidden_size, model.num_attention_heads),
                      given.contains("head_dim") ? "change it" : "change the number of heads, or give head_dim");
  const RopeScaling& rope = model.rope_scaling;
  if (rope.rope_type == RopeType::plain && rope.factor != 1)
    throw input_error("{}: {} is {}; expected 1 where {} is \"default\", which scales nothing; set one of them",
                      origin.name, path("rope_scaling.factor"), rope.factor, path("rope_scaling.rope_type"));
  if (rope.rope_type == RopeType::llama3 && rope.low_freq_factor >= rope.high_freq_factor)
    throw input_error("{}: {} is {} and {} is {}; expected a lower one; change one of them", origin.name,
                      path("rope_scaling.low_freq_factor"), rope.low_freq_factor, path("rope_scaling.high_freq_factor"),
                      rope.high_freq_factor);
  if (model.sliding_window > 0 && architecture.sliding_window == 0)
    throw input_error("{}: {} is {}; expected null: architecture {} has no windows; remove it, or set {} to mistral",
                      origin.name, path("sliding_window"), model.sliding_window, model.architecture,
                      path("architecture"));
  complete_gemma(model, given, architecture, origin);
  if (model.sub_norm && model.num_attention_heads * model.head_dim != model.hidden_size)
    throw input_error(
        "{}: {} is {}; expected hidden_size / heads, which are {} / {}: in transformers the norm before "
        "o_proj of a {} is as wide as the residual stream; change one of them",
        origin.name, path("head_dim"), model.head_dim, model.hidden_size, model.num_attention_heads,
        model.architecture);
}

void complete_and_check(RunConfig& config, const json& given, const std::string& origin) {
  check_run(config.run, origin);
  const auto model = given.find("model");
  complete_model(config.model, model == given.end() ? json::object() : *model, {origin});
  if (!has(given, "precision", "residual")) config.precision.residual = config.precision.compute;
  if (!has(given, "schedule", "second_weight_decay"))
    config.schedule.second_weight_decay = config.optimizer.weight_decay;
  check_train(config, origin);
  check_schedule(config, origin);
  check_rule(config.optimizer, origin);
  complete_codecs(config, given);
  check_codecs(config, origin);
  check_products(config, origin);
}

}  // namespace bittern::config
