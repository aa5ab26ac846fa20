// ModelSpec: what a Transformer is made of, in Hugging Face's words. Another family is another row of values, not
// another flow.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bittern {

/// How the rotary embedding's frequencies are changed for longer sequences (rope_scaling in a config.json).
enum class RopeType : std::uint8_t {
  plain,   ///< "default": as rope_theta says
  llama3,  ///< low ones divided by `factor`, high ones kept, between them by a straight line (LLaMA 3.1)
  linear   ///< all divided by `factor`
};
inline constexpr std::array<std::string_view, 3> rope_type_names = {"default", "llama3", "linear"};

constexpr std::string_view name(RopeType type) {
  return rope_type_names[static_cast<std::size_t>(type)];
}

/// All numbers but `factor` are llama3's: a frequency is low if it turns less than low_freq_factor times within
/// original_max_position_embeddings positions, and high if it turns more than high_freq_factor times.
struct RopeScaling {
  RopeType rope_type = RopeType::plain;
  double factor = 1.0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;
  std::int64_t original_max_position_embeddings = 8192;
  bool operator==(const RopeScaling&) const = default;
};

/// How o_proj and down_proj, whose outputs join the residual stream, begin. With L layers the stream is a sum of 2 L of
/// them. plain: as every other matrix, N(0, initializer_range). scaled: N(0, initializer_range / sqrt(2 L)).
/// automatic: a run that begins takes residual_init_of_a_new_run, a run that goes on keeps what it had
/// (settle_residual_init of config.h).
enum class ResidualInit : std::uint8_t { automatic, plain, scaled };
inline constexpr std::array<std::string_view, 3> residual_init_names = {"auto", "plain", "scaled"};
/// What measured better (docs/measurements/eco_mini.md).
inline constexpr ResidualInit residual_init_of_a_new_run = ResidualInit::scaled;

struct ModelSpec {
  std::string architecture = "llama";  ///< transformers' model_type; config/model_table.cpp has the list
  std::int64_t vocab_size = 0;         ///< 0: the data's
  std::int64_t hidden_size = 256;
  std::int64_t num_hidden_layers = 4;
  std::int64_t num_attention_heads = 4;
  std::int64_t num_key_value_heads = 0;  ///< 0: as many as query heads
  std::int64_t head_dim = 0;             ///< 0: hidden_size / num_attention_heads
  std::int64_t intermediate_size = 688;
  std::int64_t max_position_embeddings = 2048;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling{};
  /// Positions that a token attends to in a layer that slides, itself included; 0: all.
  std::int64_t sliding_window = 0;
  /// Of so many layers the last one sees all positions, the others slide; 0: every layer slides.
  std::int64_t sliding_window_pattern = 0;
  double rope_local_base_freq = 0;         ///< rope_theta of layers that slide; 0: as the others
  std::int64_t query_pre_attn_scalar = 0;  ///< scores are multiplied by 1 / sqrt of it; 0 (no Gemma): head_dim
  double attn_logit_softcapping = 0;       ///< cap of the scores; 0: none
  double final_logit_softcapping = 0;      ///< cap of the logits; 0: none
  double rms_norm_eps = 1e-5;
  double initializer_range = 0.02;
  ResidualInit residual_init = ResidualInit::automatic;
  bool tie_word_embeddings = false;
  bool attention_bias = false;  ///< biases on q, k, v
  bool qk_norm = false;         ///< rmsnorm of every query and key head
  bool sub_norm = false;        ///< rmsnorm of what o_proj and down_proj read (SubLN)

  /// Whether the layer sees a window of the positions alone.
  bool slides(int layer) const {
    return sliding_window > 0 && (sliding_window_pattern == 0 || (layer + 1) % sliding_window_pattern != 0);
  }
  std::int64_t query_cols() const { return num_attention_heads * head_dim; }
  std::int64_t key_value_cols() const { return num_key_value_heads * head_dim; }
};

}  // namespace bittern
