// The families, and the list of a layer's parts that each of them is.
#include "model/families.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "bittern/error.h"
#include "bittern/quant/bf16.h"

namespace bittern {
namespace {

/// What all families have alike; the window is that of layers that slide.
AttentionData attention_of(const ModelSpec& spec, int layer) {
  return {.hidden_size = spec.hidden_size,
          .heads = spec.num_attention_heads,
          .kv_heads = spec.num_key_value_heads,
          .head_dim = spec.head_dim,
          .math = norm_math(spec),
          .rope = {.theta = spec.rope_theta, .scaling = spec.rope_scaling},
          .scores = {.window = spec.slides(layer) ? spec.sliding_window : 0},
          .bias = spec.attention_bias,
          .qk_norm = spec.qk_norm,
          .sub_norm = spec.sub_norm};
}

/// LLaMA, LLaMA with windows (mistral), and LLaMA with biases (qwen2), norms on q and k (qwen3) or sub-norms (bitnet):
/// which of these a family has, the config says (config/model_table.cpp).
BlockData llama_block(const ModelSpec& spec, int layer) {
  const std::int64_t C = spec.hidden_size;
  const NormMath math = norm_math(spec);
  return {StreamData{
              .norm = "input_layernorm.weight", .planned = "x0", .hidden_size = C, .math = math, .begins_block = true},
          attention_of(spec, layer),
          StreamData{.norm = "post_attention_layernorm.weight", .planned = "x1", .hidden_size = C, .math = math},
          GatedMlpData{
              .hidden_size = C, .intermediate_size = spec.intermediate_size, .math = math, .sub_norm = spec.sub_norm}};
}

/// Gemma 2 and 3: every branch is normalised before and after, the MLP's activation is gelu, most layers see a window. Of
/// Gemma 3 the layers with a window have a rotary base of their own, and the others alone are scaled.
BlockData gemma_block(const ModelSpec& spec, int layer) {
  const std::int64_t C = spec.hidden_size;
  const NormMath math = norm_math(spec);
  AttentionData attention = attention_of(spec, layer);
  if (spec.rope_local_base_freq > 0 && spec.slides(layer)) attention.rope = {.theta = spec.rope_local_base_freq};
  attention.scores.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.query_pre_attn_scalar)));
  attention.scores.softcap = static_cast<float>(spec.attn_logit_softcapping);
  attention.post_norm = "post_attention_layernorm.weight";
  return {StreamData{
              .norm = "input_layernorm.weight", .planned = "x0", .hidden_size = C, .math = math, .begins_block = true},
          attention,
          StreamData{.norm = "pre_feedforward_layernorm.weight", .planned = "x1", .hidden_size = C, .math = math},
          GatedMlpData{.hidden_size = C,
                       .intermediate_size = spec.intermediate_size,
                       .math = math,
                       .activation = Activation::gelu_tanh,
                       .post_norm = "post_feedforward_layernorm.weight"}};
}

struct Family {
  std::string_view architecture;  ///< transformers' model_type
  BlockData (*block)(const ModelSpec& spec, int layer);
  float norm_offset = 0.0f;
  bool scaled_embedding = false;  ///< the embedding is multiplied by sqrt(hidden_size), the head is not
};
constexpr auto families = std::to_array<Family>({
    {"llama", llama_block},
    {"mistral", llama_block},
    {"qwen2", llama_block},
    {"qwen3", llama_block},
    {"bitnet", llama_block},
    {"gemma2", gemma_block, 1.0f, true},
    {"gemma3_text", gemma_block, 1.0f, true},
});

const Family& family_of(const ModelSpec& spec) {
  const auto family = std::ranges::find(families, spec.architecture, &Family::architecture);
  check(family != families.end(), "model: there is no family \"{}\"", spec.architecture);
  return *family;
}

}  // namespace

NormMath norm_math(const ModelSpec& spec) {
  return {.eps = static_cast<float>(spec.rms_norm_eps), .offset = family_of(spec).norm_offset};
}

float embedding_scale(const ModelSpec& spec, DType compute) {
  if (!family_of(spec).scaled_embedding) return 1.0f;
  const auto root = static_cast<float>(std::sqrt(static_cast<double>(spec.hidden_size)));
  return compute == DType::bf16 ? to_float(to_bf16(root)) : root;
}

BlockData block_of(const ModelSpec& spec, int layer) {
  return family_of(spec).block(spec, layer);
}

Part make_part(const PartData& data, LayerRows& rows) {
  struct Make {
    LayerRows& rows;
    Part operator()(const StreamData& of) const { return Stream(of, rows); }
    Part operator()(const AttentionData& of) const { return Attention(of, rows); }
    Part operator()(const GatedMlpData& of) const { return GatedMlp(of, rows); }
  };
  return std::visit(Make{rows}, data);
}

}  // namespace bittern
