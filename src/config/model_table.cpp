// The rows about Hugging Face's words that are no keys here: what a config.json says beside them, and the
// architectures.
#include <array>

#include "config/table.h"

namespace bittern::config {
namespace {

// clang-format off
constexpr auto extras = std::to_array<ModelExtra>({
    {"model_type", {}, {}},     // says the architecture
    {"architectures", {}, {}},  // the same
    {"torch_dtype", {}, {}},
    {"dtype", {}, {}},
    {"use_cache", {}, {}},
    {"transformers_version", {}, {}},
    {"bos_token_id", {}, {}},
    {"eos_token_id", {}, {}},
    {"pad_token_id", {}, {}},
    {"unk_token_id", {}, {}},
    {"_name_or_path", {}, {}},
    {"_attn_implementation_autoset", {}, {}},
    {"attn_implementation", {}, {}},
    {"keys_to_ignore_at_inference", {}, {}},
    {"max_window_layers", {}, {}},
    {"_attn_implementation", {}, {}},
    {"auto_map", {}, {}},
    {"is_llama_config", {}, {}},
    {"tokenizer_class", {}, {}},
    {"transformers.js_config", {}, {}},
    {"unsloth_version", {}, {}},
    {"use_mrope", "false", "rotation by three kinds of position is not implemented"},
    {"rope_interleaved", "false", "rotation turns halves of a head, not neighbours"},
    {"mlp_bias", "false", "the MLP has no biases"},
    {"pretraining_tp", "1", "products are not cut into slices"},
    {"attention_dropout", "0", "there is no dropout"},
    {"hidden_dropout", "0", "there is no dropout"},
    {"resid_pdrop", "0", "there is no dropout"},
    {"embd_pdrop", "0", "there is no dropout"},
    {"rope_parameters", "null", "anything else is an object with rope_theta and rope_type"},
    {"partial_rotary_factor", "1 null", "rotation of a part of each head is not implemented"},
    {"use_sliding_window", "false", "windows that begin at a layer (max_window_layers) are not implemented"},
    {"layer_types", "null", "anything else is a list with the kind of every layer's attention"},
    {"use_bidirectional_attention", "null false", "only decoders are implemented"},
    {"cache_implementation", {}, {}},
    {"quantization_config", "null", "quantized weights must be dequantized first"},
    {"is_encoder_decoder", "false", "only decoders are implemented"},
    {"add_cross_attention", "false", "only decoders are implemented"},
});

constexpr auto architecture_rows = std::to_array<Architecture>({
    {"llama", "LlamaForCausalLM", false, false, false, 0, 1e-6, 1e4, "silu", 0, 0},
    {"mistral", "MistralForCausalLM", false, false, false, 0, 1e-6, 1e4, "silu", 8, 4096},
    {"qwen2", "Qwen2ForCausalLM", true, false, false, 0, 1e-6, 1e4, "silu", 0, 0},
    {"qwen3", "Qwen3ForCausalLM", false, true, false, 128, 1e-6, 1e4, "silu", 0, 0},
    {"bitnet", "BitNetForCausalLM", false, false, true, 0, 1e-5, 5e5, "relu2", 0, 0},
    {"gemma2", "Gemma2ForCausalLM", false, false, false, 256, 1e-6, 1e4, "gelu_pytorch_tanh", 4, 4096, true, 2, 0, 50, 30, 8192},
    {"gemma3_text", "Gemma3ForCausalLM", false, true, false, 256, 1e-6, 1e6, "gelu_pytorch_tanh", 4, 4096, true, 6, 1e4, 0, 0, 131072},
});
// clang-format on

}  // namespace

std::span<const ModelExtra> model_extras() {
  return extras;
}

std::span<const Architecture> architectures() {
  return architecture_rows;
}

std::vector<std::string_view> architecture_names() {
  std::vector<std::string_view> names;
  for (const Architecture& row : architecture_rows) names.push_back(row.name);
  return names;
}

}  // namespace bittern::config
