// The model section in Hugging Face's words.
#include "config/config_support.h"

using namespace bittern;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

// As `transformers` 4 writes them.
const char* const llama = R"({
  "_name_or_path": "somebody/llama", "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
  "bos_token_id": 1, "eos_token_id": 2, "head_dim": 64, "hidden_act": "silu", "hidden_size": 512, "initializer_range": 0.02,
  "intermediate_size": 1376, "max_position_embeddings": 1024, "mlp_bias": false, "model_type": "llama",
  "num_attention_heads": 8, "num_hidden_layers": 8, "num_key_value_heads": 4, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
  "rope_scaling": null, "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "float32",
  "transformers_version": "4.45.0", "use_cache": true, "vocab_size": 32000})";
const char* const qwen2 = R"({
  "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643,
  "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02, "intermediate_size": 4864,
  "max_position_embeddings": 32768, "max_window_layers": 24, "model_type": "qwen2", "num_attention_heads": 14,
  "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
  "sliding_window": 32768, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.40.1",
  "use_cache": true, "use_sliding_window": false, "vocab_size": 151936})";
// As version 5 does: dtype and rope_parameters.
const char* const qwen3 = R"({
  "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "dtype": "bfloat16",
  "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
  "layer_types": ["full_attention", "full_attention"], "max_position_embeddings": 40960, "max_window_layers": 28,
  "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 2, "num_key_value_heads": 8, "pad_token_id": null,
  "rms_norm_eps": 1e-06, "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"}, "sliding_window": null,
  "tie_word_embeddings": true, "transformers_version": "5.0.0", "use_cache": true, "use_sliding_window": false,
  "vocab_size": 151936})";

std::string pasted(const std::string& model) {
  return "{\"model\": " + model + "}";
}

// The llama above with one member more, or another value of it.
std::string with(const std::string& member) {
  return R"({"model": {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, )" + member + "}}";
}

}  // namespace

TEST_CASE("config: Hugging Face's config.json can be pasted; what changes nothing is listed as ignored") {
  const RunConfig config = parse_config(pasted(llama), "a.json");
  CHECK(config.model.architecture == "llama");
  CHECK(config.model.hidden_size == 512);
  CHECK(config.model.num_key_value_heads == 4);
  CHECK(config.model.vocab_size == 32000);
  CHECK_FALSE(config.model.attention_bias);
  CHECK_FALSE(config.model.qk_norm);
  const auto ignored = [&](const char* path) {
    return std::find(config.ignored_keys.begin(), config.ignored_keys.end(), path) != config.ignored_keys.end();
  };
  CHECK(ignored("model.torch_dtype"));
  CHECK(ignored("model.use_cache"));
  CHECK(ignored("model.rope_scaling"));
  CHECK(ignored("model.hidden_act"));
  CHECK_FALSE(ignored("model.hidden_size"));
}

TEST_CASE("config: qwen2 has biases on q, k, v; qwen3 norms on queries and keys; bitnet norms before o and down") {
  const ModelSpec second = parse_config(pasted(qwen2), "a.json").model;
  CHECK(second.architecture == "qwen2");
  CHECK(second.attention_bias);
  CHECK_FALSE(second.qk_norm);
  CHECK(second.head_dim == 64);
  CHECK(second.tie_word_embeddings);
  const ModelSpec third = parse_config(pasted(qwen3), "a.json").model;
  CHECK(third.architecture == "qwen3");
  CHECK_FALSE(third.attention_bias);
  CHECK(third.qk_norm);
  CHECK(third.head_dim == 128);
  CHECK(third.rope_theta == 1e6);
  const ModelSpec fourth = parse_config(R"({"model": {"architecture": "bitnet"}})", "a.json").model;
  CHECK(fourth.sub_norm);
  CHECK_FALSE(third.sub_norm);
  CHECK_THAT(
      refusal(R"({"model": {"architecture": "bitnet", "hidden_size": 64, "num_attention_heads": 4, "head_dim": 32}})"),
      Contains("model.head_dim is 32; expected hidden_size / heads, which are 64 / 4"));
}

TEST_CASE("config: a model file is named by path, relative to the config, and is the whole model") {
  const TemporaryFolder folder("config_model");
  folder.write("hf/config.json", qwen2);
  folder.write("hf/old.json", R"({"model_type": "llama", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 128,
                                  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": null})");
  const std::string top = folder.write("a.json", R"({"model": "hf/config.json"})");
  CHECK(load_config(top).model.hidden_size == 896);
  const std::string over =
      folder.write("b.json", R"({"model": {"from": "hf/config.json", "num_hidden_layers": 3, "vocab_size": 1000}})");
  CHECK(load_config(over).model.num_hidden_layers == 3);
  CHECK(load_config(over).model.hidden_size == 896);
  // Nothing of an earlier model stays: neither its head_dim nor its number of key heads.
  const std::string replaced = folder.write("c.json", R"({"extends": "d.json", "model": "hf/old.json"})");
  folder.write("d.json", R"({"model": {"architecture": "qwen3", "head_dim": 32, "num_key_value_heads": 1}})");
  const ModelSpec model = load_config(replaced).model;
  CHECK(model.architecture == "llama");
  CHECK(model.head_dim == 16);
  CHECK(model.num_key_value_heads == 4);
  CHECK(model.rms_norm_eps == 1e-6);  // transformers' default
  CHECK(load_config(top, std::vector<std::string>{"model=" + (folder / "hf/old.json")}).model.hidden_size == 64);
  CHECK(load_config(top, std::vector<std::string>{"model.from=" + (folder / "hf/old.json")}).model.hidden_size == 64);
}

TEST_CASE("config: a message about a model file names that file and the key as it stands there") {
  const TemporaryFolder folder("config_model_blame");
  const std::string top = folder.write("a.json", R"({"model": "hf.json"})");
  CHECK_THAT(file_refusal(top), StartsWith((folder / "hf.json") + ": cannot open"));
  CHECK_THAT(file_refusal(top), Contains("(named by " + top + ": model.from)"));
  const auto [text, message] = GENERATE(table<std::string, std::string>({
      {"[]", ": is []; expected the object of a Hugging Face config.json"},
      {"{}", ": has no vocab_size; expected a Hugging Face config.json of a llama, mistral, qwen2, qwen3, bitnet"},
      {R"({"vocab_size": 1, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1})",
       ": has no model_type"},
      {R"({"vocab_size": 1, "hidden_size": -8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1})",
       ": hidden_size is -8; expected a whole number"},
      {R"({"vocab_size": 1, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
           "hidden_act": "gelu"})",
       ": hidden_act is \"gelu\"; expected \"silu\""},
      {R"({"vocab_size": 1, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
           "new_invention": 3})",
       ": new_invention is not a known key (its value is 3)"},
  }));
  folder.write("hf.json", text);
  CHECK_THAT(file_refusal(top), StartsWith((folder / "hf.json") + message));
}

TEST_CASE("config: what the model cannot honour is refused with the reason") {
  const auto [member, message] = GENERATE(table<std::string, std::string>({
      {R"("rope_scaling": {"rope_type": "llama3", "factor": 8})",
       "rope_scaling.low_freq_factor is not given; rope_type llama3 needs it"},
      {R"("rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
           "original_max_position_embeddings": 8192})",
       "rope_scaling.low_freq_factor is 4 and model.rope_scaling.high_freq_factor is 4; expected a lower one"},
      {R"("rope_scaling": {"rope_type": "default", "factor": 8})",
       "rope_scaling.factor is 8; expected 1 where model.rope_scaling.rope_type is \"default\""},
      {R"("rope_scaling": {"type": "dynamic", "factor": 2})",
       "rope_scaling.rope_type is \"dynamic\"; expected \"default\", \"llama3\" or \"linear\": other kinds of scaled"},
      {R"("rope_scaling": {"type": "linear"})", "rope_scaling.factor is not given; rope_type linear needs it"},
      {R"("rope_scaling": {"rope_type": "llama3", "type": "default"})",
       "rope_scaling.type is \"default\"; correct one"},
      {R"("rope_scaling": {"rope_type": "default", "beta_fast": 32})", "rope_scaling.beta_fast is not a known key"},
      {R"("rope_scaling": {"rope_type": "default", "partial_rotary_factor": 0.5})",
       "rope_scaling.partial_rotary_factor is 0.5; expected 1 or null"},
      {R"("rope_scaling": 2)", "rope_scaling is 2; expected an object with keys of: rope_type"},
      {R"("rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4})", "rope_parameters.rope_type is \"yarn\""},
      {R"("rope_parameters": {"rope_theta": 5e5}, "rope_theta": 1e4)", "correct one of them"},
      {R"("rope_parameters": {"rope_theta": -1})", "model.rope_theta is -1; expected a number above 0"},
      {R"("hidden_act": "gelu")", "hidden_act is \"gelu\"; expected \"silu\": the MLP is SwiGLU"},
      {R"("mlp_bias": true)", "mlp_bias is true; expected false: the MLP has no biases"},
      {R"("mlp_bias": 0)", "mlp_bias is 0; expected false"},
      {R"("attention_dropout": 0.1)", "attention_dropout is 0.1; expected 0: there is no dropout"},
      {R"("pretraining_tp": 2)", "pretraining_tp is 2; expected 1"},
      {R"("sliding_window": 4096)", "sliding_window is 4096; expected null: architecture llama has no windows"},
      {R"("sliding_window": 4096, "use_sliding_window": true)", "sliding_window is"},
      {R"("use_sliding_window": true)", "use_sliding_window is true; expected false"},
      {R"("layer_types": ["full_attention", "sliding_attention"])", "layer_types is"},
      {R"("rope_interleaved": true)", "rope_interleaved is true; expected false"},
      {R"("partial_rotary_factor": 0.5)", "partial_rotary_factor is 0.5; expected 1 or null"},
      {R"("quantization_config": {"bits": 4})", "quantized weights must be dequantized first"},
      {R"("attention_bias": true)", "model.attention_bias is true, but architecture llama has no biases on q, k, v"},
      {R"("qk_norm": true)",
       "architecture llama has no norms on queries and keys; remove the key, or set "
       "model.architecture to qwen3"},
      {R"("architectures": ["PhiForCausalLM"])",
       "expected an array with one of LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM"},
      {R"("architectures": "LlamaForCausalLM")", "expected an array with one of"},
      {R"("architectures": ["Qwen2ForCausalLM"])", "model.model_type means llama, but model.architectures means qwen2"},
      {R"("architecture": "qwen2")", "model.architecture means qwen2, but model.model_type means llama"},
  }));
  const std::string said = refusal(with(member));
  CAPTURE(said);
  CHECK_THAT(said, StartsWith("a.json: ") && Contains(message));
  CHECK_THAT(refusal(R"({"model": {"model_type": "gpt2"}})"),
             Contains("model.model_type is \"gpt2\"; expected one of llama, mistral, qwen2, qwen3"));
  CHECK_THAT(refusal(R"({"model": {"architecture": "gpt2"}})"),
             Contains("expected one of llama, mistral, qwen2, qwen3"));
}

TEST_CASE("config: llama3's scaled rotary embedding is read from either place, and written back") {
  const std::string numbers = R"("factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                 "original_max_position_embeddings": 4096)";
  const std::string member =
      GENERATE_COPY(as<std::string>{}, R"("rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", )" + numbers + "}",
                    R"("rope_theta": 5e5, "rope_scaling": {"type": "llama3", )" + numbers + "}",
                    R"("rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3", )" + numbers + "}");
  const RunConfig config = parse_config(with(member), "a.json");
  CHECK(config.model.rope_theta == 5e5);
  CHECK(config.model.rope_scaling == RopeScaling{.rope_type = RopeType::llama3,
                                                 .factor = 8,
                                                 .low_freq_factor = 1,
                                                 .high_freq_factor = 4,
                                                 .original_max_position_embeddings = 4096});
  const RunConfig again = parse_config(config_json(config), "b.json");
  CHECK(again.model.rope_scaling == config.model.rope_scaling);
  CHECK(again.ignored_keys.empty());
  CHECK(parse_config(with(member), "a.json", std::vector<std::string>{"model.rope_scaling.factor=32"})
            .model.rope_scaling.factor == 32);
}

TEST_CASE("config: mistral is llama with a window in every layer") {
  const auto mistral = [](const std::string& member) {
    return R"({"model": {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "hidden_size": 64,
               "num_attention_heads": 4, "max_position_embeddings": 32768, )" +
           member + "}";
  };
  const RunConfig none = parse_config(mistral(R"("sliding_window": null)") + "}", "a.json");
  CHECK(none.model.architecture == "mistral");
  CHECK(none.model.sliding_window == 0);
  CHECK_FALSE(none.model.slides(0));
  const RunConfig window =
      parse_config(mistral(R"("sliding_window": 4096)") + R"(, "data": {"sequence_length": 8192}})", "a.json");
  CHECK(window.model.sliding_window == 4096);
  for (const int layer : {0, 1, 5}) CHECK(window.model.slides(layer));
}

TEST_CASE("config: what a config.json of Gemma leaves out is what transformers means by that") {
  const std::string sizes = R"("vocab_size": 100, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 13,
                               "num_attention_heads": 8)";
  const ModelSpec two = parse_model(R"({"model_type": "gemma2", )" + sizes + "}", "c.json");
  CHECK(two.num_key_value_heads == 4);
  CHECK(two.head_dim == 256);
  CHECK(two.query_pre_attn_scalar == 256);
  CHECK(two.attn_logit_softcapping == 50);
  CHECK(two.final_logit_softcapping == 30);
  CHECK(two.rms_norm_eps == 1e-6);
  CHECK(two.rope_theta == 1e4);
  CHECK(two.rope_local_base_freq == 0);
  CHECK(two.max_position_embeddings == 8192);
  CHECK(two.tie_word_embeddings);
  CHECK_FALSE(two.qk_norm);
  const auto sliding = [](const ModelSpec& spec) {
    std::string text;
    for (int layer = 0; layer < spec.num_hidden_layers; ++layer) text += spec.slides(layer) ? 's' : 'f';
    return text;
  };
  CHECK(two.sliding_window == 4096);
  CHECK(sliding(two) == "sfsfsfsfsfsfs");
  const ModelSpec three = parse_model(R"({"model_type": "gemma3_text", )" + sizes + "}", "c.json");
  CHECK(three.rope_theta == 1e6);
  CHECK(three.rope_local_base_freq == 1e4);
  CHECK(three.attn_logit_softcapping == 0);
  CHECK(three.final_logit_softcapping == 0);
  CHECK(three.max_position_embeddings == 131072);
  CHECK(three.qk_norm);
  CHECK(sliding(three) == "sssssfsssssfs");
}

TEST_CASE("config: Gemma's windows are said by a number under two names, or by a list") {
  const std::string gemma = R"({"model": {"model_type": "gemma3_text", "num_hidden_layers": 4, "head_dim": 16, )";
  const auto full = [&](const std::string& members) {
    const ModelSpec spec = parse_config(gemma + members + "}}", "a.json").model;
    std::string text;
    for (int layer = 0; layer < 4; ++layer) text += spec.slides(layer) ? 's' : 'f';
    return text;
  };
  const std::string window = R"("sliding_window": 32)";
  const auto list = [](const std::string& kinds) {
    std::string text;
    for (const char kind : kinds)
      text += std::string(text.empty() ? "" : ", ") + (kind == 's' ? "\"sliding_attention\"" : "\"full_attention\"");
    return R"("layer_types": [)" + text + "]";
  };
  CHECK(full(window) == "ssss");
  CHECK(full(window + R"(, "sliding_window_pattern": 2)") == "sfsf");
  CHECK(full(window + R"(, "_sliding_window_pattern": 3)") == "ssfs");
  CHECK(full(window + R"(, "sliding_window_pattern": 2, "_sliding_window_pattern": 2, )" + list("sfsf")) == "sfsf");
  for (const char* kinds : {"sfsf", "ssfs", "ssss", "ffff", "sssf"}) CHECK(full(window + ", " + list(kinds)) == kinds);
  CHECK(full(window + R"(, "_sliding_window_pattern": 6, )" + list("ssfs")) == "ssfs");  // as transformers 5 writes it
  CHECK_THAT(refusal(gemma + window + R"(, "sliding_window_pattern": 2, )" + list("ssfs") + "}}"),
             Contains("model.sliding_window_pattern is 2, which is not what model.layer_types says of every layer"));
  CHECK_THAT(refusal(gemma + R"("sliding_window_pattern": 2, "_sliding_window_pattern": 3}})"),
             Contains("model.sliding_window_pattern is 2, but model._sliding_window_pattern is 3"));
  CHECK_THAT(refusal(gemma + list("fsss") + "}}"), Contains("other orders of layers are not implemented"));
}

TEST_CASE("config: a Gemma 3 with images is read as its language model, the rest as what its class says") {
  const std::string text = R"({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
      "boi_token_index": 255999, "vision_config": {"hidden_size": 1152},
      "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "model_type": "gemma3_text",
                      "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}})";
  const ModelSpec spec = parse_model(text, "c.json");
  CHECK(spec.architecture == "gemma3_text");
  CHECK(spec.vocab_size == 262208);
  CHECK(spec.num_attention_heads == 8);
  CHECK(spec.num_key_value_heads == 4);
  CHECK(spec.head_dim == 256);
  CHECK(spec.sliding_window == 1024);
  CHECK(spec.rope_scaling == RopeScaling{.rope_type = RopeType::linear, .factor = 8});
  CHECK_THROWS_WITH(parse_model(R"({"model_type": "gemma3", "hidden_size": 8})", "c.json"),
                    Contains("text_config is missing; expected the object of its language model"));
}

TEST_CASE("config: Gemma 3's two rotary bases in the words of transformers 5") {
  const RunConfig config = parse_config(R"({"model": {"model_type": "gemma3_text", "head_dim": 16, "rope_parameters": {
      "full_attention": {"rope_type": "linear", "factor": 8, "rope_theta": 1e6},
      "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}}}})",
                                        "a.json");
  CHECK(config.model.rope_theta == 1e6);
  CHECK(config.model.rope_local_base_freq == 2e4);
  CHECK(config.model.rope_scaling.factor == 8);
}

TEST_CASE("config: what contradicts a Gemma, or is Gemma's alone, is refused by its key") {
  const auto [member, message] = GENERATE(table<std::string, std::string>({
      {R"("model_type": "gemma3_text", "attn_logit_softcapping": 50)",
       "model.attn_logit_softcapping is 50; expected null or 0: transformers passes over it in a gemma3_text"},
      {R"("model_type": "gemma2", "hidden_activation": "gelu")",
       "hidden_activation is \"gelu\"; expected \"gelu_pytorch_tanh\""},
      {R"("model_type": "gemma2", "hidden_act": "silu")", "hidden_act is \"silu\"; expected \"gelu_pytorch_tanh\""},
      {R"("model_type": "gemma2", "attention_bias": true)", "architecture gemma2 has no biases on q, k, v"},
      {R"("model_type": "gemma3_text", "use_bidirectional_attention": true)", "expected null or false: only decoders"},
      {R"("model_type": "gemma2", "rope_local_base_freq": 10000)", "architecture gemma2 has none"},
      {R"("model_type": "gemma2", "query_pre_attn_scalar": 0)",
       "model.query_pre_attn_scalar is 0; expected a number above"},
      {R"("model_type": "llama", "final_logit_softcapping": 30)",
       "model.final_logit_softcapping is 30; expected 0: architecture llama has none"},
      {R"("model_type": "llama", "query_pre_attn_scalar": 64)", "architecture llama has none"},
      {R"("model_type": "mistral", "sliding_window_pattern": 2)", "architecture mistral has none"},
  }));
  CHECK_THAT(refusal(R"({"model": {"head_dim": 16, )" + member + "}}"), Contains(message));
  CHECK_THAT(refusal(R"({"model": {"model_type": "gemma2"}})"), Contains("architecture gemma2 needs it"));
}

TEST_CASE("config: what a config.json of mistral leaves out is what transformers means by that") {
  const std::string whole = R"({"model_type": "mistral", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 96,
                                "num_hidden_layers": 2, "num_attention_heads": 16)";
  CHECK(parse_model(whole + "}", "c.json").num_key_value_heads == 8);
  CHECK(parse_model(whole + "}", "c.json").sliding_window == 4096);
  CHECK(parse_model(whole + R"(, "sliding_window": null})", "c.json").sliding_window == 0);
  CHECK(parse_model(whole + R"(, "num_key_value_heads": null})", "c.json").num_key_value_heads == 16);
}

TEST_CASE("config: harmless spellings of the same are accepted") {
  const std::string member =
      GENERATE(as<std::string>{}, R"("rope_scaling": {"rope_type": "default"})",
               R"("rope_parameters": {"rope_theta": 10000, "rope_type": "default"}, "rope_theta": 1e4)",
               R"("rope_parameters": null)", R"("attention_dropout": 0)", R"("head_dim": null)",
               R"("num_key_value_heads": null)", R"("sliding_window": 4096, "use_sliding_window": false)",
               R"("is_llama_config": true, "rope_interleaved": false, "transformers.js_config": {"dtype": "fp32"})",
               R"("partial_rotary_factor": 1.0)", R"("attention_bias": false)", R"("layer_types": null)");
  CHECK(refusal(with(member)) == "accepted");
}

TEST_CASE("config: model that is neither object nor path is refused") {
  CHECK_THAT(refusal(R"({"model": 3})"),
             Contains("a.json: model is 3; expected an object with keys of: rope_scaling, architecture"));
  CHECK_THAT(refusal(R"({"model": {"from": 3}})"), Contains("model.from is 3; expected the path"));
}
