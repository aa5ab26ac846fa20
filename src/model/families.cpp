// The families, and the list of a layer's parts that each of them is.
#include "model/families.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "bittern/error.h"

namespace bittern {
namespace {

/// LLaMA, LLaMA by another name (mistral), and LLaMA with biases (qwen2), norms on q and k (qwen3) or sub-norms (bitnet): which of
/// these a family has, the config says (config/model_table.cpp).
BlockData llama_block(const ModelSpec& spec, int) {
  const std::int64_t C = spec.hidden_size;
  const auto eps = static_cast<float>(spec.rms_norm_eps);
  return {
      StreamData{.norm = "input_layernorm.weight", .planned = "x0", .hidden_size = C, .eps = eps, .begins_block = true},
      AttentionData{.hidden_size = C,
                    .heads = spec.num_attention_heads,
                    .kv_heads = spec.num_key_value_heads,
                    .head_dim = spec.head_dim,
                    .eps = eps,
                    .rope = {.theta = spec.rope_theta, .scaling = spec.rope_scaling},
                    .bias = spec.attention_bias,
                    .qk_norm = spec.qk_norm,
                    .sub_norm = spec.sub_norm},
      StreamData{.norm = "post_attention_layernorm.weight", .planned = "x1", .hidden_size = C, .eps = eps},
      GatedMlpData{
          .hidden_size = C, .intermediate_size = spec.intermediate_size, .eps = eps, .sub_norm = spec.sub_norm}};
}

struct Family {
  std::string_view architecture;  ///< transformers' model_type
  BlockData (*block)(const ModelSpec& spec, int layer);
};
constexpr auto families = std::to_array<Family>({
    {"llama", llama_block},
    {"mistral", llama_block},
    {"qwen2", llama_block},
    {"qwen3", llama_block},
    {"bitnet", llama_block},
});

}  // namespace

BlockData block_of(const ModelSpec& spec, int layer) {
  const auto family = std::ranges::find(families, spec.architecture, &Family::architecture);
  check(family != families.end(), "model: there is no family \"{}\"", spec.architecture);
  return family->block(spec, layer);
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
