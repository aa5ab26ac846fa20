// The parameter table of a model: names are Hugging Face's, so a checkpoint opens there as it is.
#include "bittern/parameter.h"

namespace bittern {

std::vector<ParameterSpec> parameter_table(const ModelSpec& spec) {
  const std::int64_t C = spec.hidden_size, F = spec.intermediate_size, D = spec.head_dim;
  const std::int64_t Q = spec.query_cols(), KV = spec.key_value_cols();
  std::vector<ParameterSpec> table;
  table.push_back({"model.embed_tokens.weight", Shape{spec.vocab_size, C}, Role::embedding});
  for (int layer = 0; layer < spec.num_hidden_layers; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    const auto add = [&](const char* name, Shape shape, Role role, bool stacked = false) {
      table.push_back({block + name, shape, role, layer, stacked});
    };
    add("input_layernorm.weight", Shape{C}, Role::norm);
    add("self_attn.q_proj.weight", Shape{Q, C}, Role::attention_linear);
    add("self_attn.k_proj.weight", Shape{KV, C}, Role::attention_linear, true);
    add("self_attn.v_proj.weight", Shape{KV, C}, Role::attention_linear, true);
    if (spec.attention_bias) {
      add("self_attn.q_proj.bias", Shape{Q}, Role::norm);
      add("self_attn.k_proj.bias", Shape{KV}, Role::norm, true);
      add("self_attn.v_proj.bias", Shape{KV}, Role::norm, true);
    }
    if (spec.qk_norm) {
      add("self_attn.q_norm.weight", Shape{D}, Role::norm);
      add("self_attn.k_norm.weight", Shape{D}, Role::norm);
    }
    if (spec.sub_norm) add("self_attn.attn_sub_norm.weight", Shape{Q}, Role::norm);
    add("self_attn.o_proj.weight", Shape{C, Q}, Role::attention_linear);
    add("post_attention_layernorm.weight", Shape{C}, Role::norm);
    add("mlp.gate_proj.weight", Shape{F, C}, Role::mlp_linear);
    add("mlp.up_proj.weight", Shape{F, C}, Role::mlp_linear, true);
    if (spec.sub_norm) add("mlp.ffn_sub_norm.weight", Shape{F}, Role::norm);
    add("mlp.down_proj.weight", Shape{C, F}, Role::mlp_linear);
  }
  table.push_back({"model.norm.weight", Shape{C}, Role::norm});
  if (!spec.tie_word_embeddings) table.push_back({"lm_head.weight", Shape{spec.vocab_size, C}, Role::head});
  return table;
}

}  // namespace bittern
