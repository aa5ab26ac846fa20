// ModelSpec: what a Transformer is made of, in Hugging Face's words. Another family is another row of values, not
// another flow.
#pragma once

#include <cstdint>
#include <string>

namespace bittern {

struct ModelSpec {
  /// "llama", "qwen2" (biases on q, k, v), "qwen3" (norms on q and k) or "bitnet" (norms before o_proj and down_proj)
  std::string architecture = "llama";
  std::int64_t vocab_size = 0;  ///< 0: the data's
  std::int64_t hidden_size = 256;
  std::int64_t num_hidden_layers = 4;
  std::int64_t num_attention_heads = 4;
  std::int64_t num_key_value_heads = 0;  ///< 0: as many as query heads
  std::int64_t head_dim = 0;             ///< 0: hidden_size / num_attention_heads
  std::int64_t intermediate_size = 688;
  std::int64_t max_position_embeddings = 2048;
  double rope_theta = 10000.0;
  double rms_norm_eps = 1e-5;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;
  bool attention_bias = false;  ///< biases on q, k, v
  bool qk_norm = false;         ///< rmsnorm of every query and key head
  bool sub_norm = false;        ///< rmsnorm of what o_proj and down_proj read (SubLN)

  std::int64_t query_cols() const { return num_attention_heads * head_dim; }
  std::int64_t key_value_cols() const { return num_key_value_heads * head_dim; }
};

}  // namespace bittern
