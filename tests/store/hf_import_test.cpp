// Import: what transformers wrote is read exactly; what bittern cannot do is refused by key and value.
#include "bittern/hf_import.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "bittern/checkpoint.h"
#include "bittern/config.h"
#include "bittern/quant/bf16.h"
#include "catch.h"
#include "source_dir.h"
#include "store/hf_config.h"
#include "store/storage_support.h"

using namespace bittern;
using namespace bittern::storage_test;
using nlohmann::json;

namespace {

const std::string golden = bittern::source_dir() + "/tests/golden/storage";

json small_config(const char* model_type = "llama") {
  return {{"model_type", model_type}, {"vocab_size", 40},       {"hidden_size", 16},
          {"intermediate_size", 24},  {"num_hidden_layers", 2}, {"num_attention_heads", 4}};
}

std::string message_for(const json& config) {
  const Thrown thrown = error_of([&] { parse_model(config.dump(), "M/config.json"); });
  CHECK((thrown.code == ExitCode::bad_input || thrown.text.empty()));
  return thrown.text;
}

std::string message_with(const char* key, const json& value) {
  json config = small_config();
  config[key] = value;
  return message_for(config);
}

// A folder with config.json and model.safetensors of the tensors given.
void write_model(const std::string& directory, const json& config, const std::vector<OwnedTensor>& tensors) {
  write_bytes(directory + "/config.json", config.dump());
  File out = File::create(directory + "/model.safetensors");
  write_safetensors(out, views(tensors));
  out.close();
}

template <typename T>
OwnedTensor tensor_of(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                      const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {std::move(name), std::move(dtype), std::move(shape), {bytes.begin(), bytes.end()}};
}

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values) bits.push_back(float_bits(value));
  return bits;
}

// Half to float by its definition.
double half_value(std::uint16_t half) {
  const int exponent = (half >> 10) & 31, fraction = half & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

}  // namespace

TEST_CASE("import: models that transformers wrote, sharded F16 and single BF16, equal what torch converts") {
  const SafetensorsFile expected = SafetensorsFile::open(golden + "/expected.safetensors");
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  const std::vector<std::int64_t> shape = {16, 24};
  for (const std::string family : {"qwen3", "llama"}) {
    INFO(family);
    const HfModel model = HfModel::open(golden + (family == "qwen3" ? "/qwen3_sharded" : "/llama_tied"));
    std::vector<float> wide(16 * 24), wide_expected(16 * 24);
    model.read_tensor(name, DType::f32, shape, wide.data());
    expected.read(family + ".f32", std::as_writable_bytes(std::span(wide_expected)));
    CHECK(bits_of(wide) == bits_of(wide_expected));
    std::vector<std::uint16_t> narrow(16 * 24), narrow_expected(16 * 24);
    model.read_tensor(name, DType::bf16, shape, narrow.data());
    expected.read(family + ".bf16", std::as_writable_bytes(std::span(narrow_expected)));
    CHECK(narrow == narrow_expected);
  }
}

TEST_CASE("import: the configs that transformers wrote are completed") {
  const HfModel qwen3 = HfModel::open(golden + "/qwen3_sharded");
  const ModelSpec& spec = qwen3.spec();
  CHECK(spec.architecture == "qwen3");
  CHECK(spec.head_dim == 8);
  CHECK(spec.num_key_value_heads == 2);
  CHECK(spec.rope_theta == 10000.0);  // from rope_parameters
  CHECK(spec.rms_norm_eps == 1e-6);
  CHECK(spec.qk_norm);
  CHECK_FALSE(spec.attention_bias);
  CHECK_FALSE(spec.tie_word_embeddings);
  CHECK(qwen3.find("model.layers.0.self_attn.q_norm.weight") != nullptr);
  CHECK(HfModel::open(golden + "/llama_tied").spec().tie_word_embeddings);
}

TEST_CASE("import: what a family means by leaving a key out") {
  const auto completed = [](const char* type) { return parse_model(small_config(type).dump(), "c"); };
  const ModelSpec llama = completed("llama"), qwen2 = completed("qwen2"), qwen3 = completed("qwen3");
  CHECK(llama.head_dim == 4);
  CHECK(llama.num_key_value_heads == 4);
  CHECK(llama.max_position_embeddings == 2048);
  CHECK(llama.rms_norm_eps == 1e-6);
  CHECK_FALSE(llama.attention_bias);
  CHECK_FALSE(llama.qk_norm);
  CHECK(qwen2.attention_bias);
  CHECK(qwen2.head_dim == 4);
  CHECK(qwen3.head_dim == 128);
  CHECK(qwen3.qk_norm);
  CHECK_FALSE(qwen3.sub_norm);
  json with_silu = small_config("bitnet");
  CHECK(contains(message_for(with_silu), "has no hidden_act, which for bitnet means relu2"));
  with_silu["hidden_act"] = "silu";
  const ModelSpec bitnet = parse_model(with_silu.dump(), "c");
  CHECK(bitnet.sub_norm);
  CHECK(bitnet.rope_theta == 500000.0);
  CHECK(bitnet.rms_norm_eps == 1e-5);
}

TEST_CASE("import: what bittern cannot do is refused, naming key and value") {
  CHECK(message_for(small_config()).empty());
  CHECK(contains(message_with("model_type", "phi"),
                 "M/config.json: model_type is \"phi\"; expected one of llama, mistral, qwen2, qwen3"));
  CHECK(contains(message_with("model_type", nullptr), "model_type is null; expected one of llama"));
  CHECK(contains(message_with("hidden_act", "gelu"), "hidden_act is \"gelu\"; expected \"silu\""));
  CHECK(contains(message_with("mlp_bias", true), "mlp_bias is true; expected false"));
  CHECK(contains(message_with("use_sliding_window", true), "use_sliding_window is true; expected false"));
  CHECK(contains(
      message_with("layer_types", {"full_attention", "sliding_attention"}),
      "layer_types is [\"full_attention\",\"sliding_attention\"]; expected every so many layers one \"full_attention\""));
  CHECK(contains(message_with("layer_types", 1), "layer_types is 1; expected"));
  CHECK(contains(message_with("quantization_config", {{"bits", 4}}),
                 "quantization_config is {\"bits\":4}; expected null"));
  CHECK(contains(message_with("attention_dropout", 0.1), "attention_dropout is 0.1; expected 0:"));
  CHECK(contains(message_with("partial_rotary_factor", 0.5), "partial_rotary_factor is 0.5; expected 1 or null"));
  CHECK(contains(message_with("rope_scaling", {{"factor", 2.0}}), "M/config.json: rope_scaling.factor is 2; expected"));
  CHECK(contains(message_with("rope_scaling", {{"rope_type", "llama3"}}), "rope_scaling.factor is not given"));
  CHECK(contains(message_with("rope_parameters", {{"rope_type", "yarn"}}), "rope_parameters.rope_type is \"yarn\""));
  CHECK(contains(message_with("rope_scaling", "linear"), "rope_scaling is \"linear\"; expected an object"));
  CHECK(contains(message_with("sliding_window", 4096), "sliding_window is 4096; expected null"));
  CHECK(contains(message_with("attention_bias", true), "attention_bias is true, but architecture llama has no biases"));
  CHECK(contains(message_with("new_invention", 1), "new_invention is not a known key"));

  for (const auto& [key, value] :
       std::vector<std::pair<const char*, json>>{{"rope_scaling", nullptr},
                                                 {"rope_scaling", {{"rope_type", "default"}}},
                                                 {"rope_scaling", {{"type", "default"}, {"factor", 1.0}}},
                                                 {"use_sliding_window", false},
                                                 {"attention_dropout", 0},
                                                 {"hidden_act", "silu"},
                                                 {"quantization_config", nullptr},
                                                 {"layer_types", {"full_attention", "full_attention"}},
                                                 {"attention_bias", false},
                                                 {"torch_dtype", "bfloat16"}}) {
    INFO(key);
    CHECK(message_with(key, value).empty());
  }
}

TEST_CASE("import: rope_theta comes from either place, and must not be two things") {
  json config = small_config();
  config["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "default"}};
  CHECK(parse_model(config.dump(), "c").rope_theta == 5e5);
  config["rope_theta"] = 5e5;
  CHECK(parse_model(config.dump(), "c").rope_theta == 5e5);
  config["rope_theta"] = 1e4;
  CHECK(contains(message_for(config), "rope_theta is 10000.0, but rope_parameters.rope_theta is 500000.0"));
}

TEST_CASE("import: what is written of llama3's rope and of mistral's window is read back as it was") {
  ModelSpec spec = parse_model(small_config().dump(), "c");
  spec.rope_scaling = {.rope_type = RopeType::llama3,
                       .factor = 32,
                       .low_freq_factor = 1,
                       .high_freq_factor = 4,
                       .original_max_position_embeddings = 8192};
  CHECK(parse_model(hf_config_json(spec, {}, {}), "c").rope_scaling == spec.rope_scaling);
  CHECK(parse_model(hf_config_json(spec, {}, {}), "c").architecture == "llama");
  spec.architecture = "mistral";
  for (const std::int64_t window : {0, 4096}) {
    spec.sliding_window = window;
    const ModelSpec back = parse_model(hf_config_json(spec, {}, {}), "c");
    CHECK(back.architecture == "mistral");
    CHECK(back.sliding_window == window);
  }
}

TEST_CASE("import: sizes that are missing, of another type or out of range are refused") {
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}) {
    INFO(key);
    json config = small_config();
    config.erase(key);
    CHECK(contains(message_for(config), "M/config.json: has no " + std::string(key) + "; expected a Hugging Face"));
    for (const json& bad : {json(0), json(-1), json(1.5), json("8"), json(true), json::array(), json(1ll << 40)})
      CHECK(
          contains(message_with(key, bad), "M/config.json: " + std::string(key) + " is " + bad.dump() + "; expected"));
  }
  CHECK(contains(message_with("num_key_value_heads", 3),
                 "num_attention_heads is 4 and num_key_value_heads is 3; expected a multiple"));
  CHECK(contains(message_with("num_key_value_heads", 8), "num_key_value_heads is 8; expected a multiple"));
  CHECK(
      contains(message_with("hidden_size", 18), "hidden_size is 18 and num_attention_heads is 4; expected a multiple"));
  CHECK(contains(message_with("head_dim", 7), "M/config.json: head_dim is 7; expected an even number"));
  CHECK(contains(message_with("rope_theta", 0), "rope_theta is 0; expected a number above 0"));
  CHECK(contains(message_with("rms_norm_eps", "x"), "rms_norm_eps is \"x\"; expected a number"));
  CHECK(contains(message_with("tie_word_embeddings", 1), "tie_word_embeddings is 1; expected true or false"));
  CHECK(contains(error_of([] { parse_model("[]", "c"); }).text, "c: is []; expected the object"));
  CHECK(contains(error_of([] { parse_model("{", "c"); }).text, "c:1:2: "));
}

TEST_CASE("import: every finite half is converted exactly; infinities and NaN are refused") {
  TemporaryFolder folder;
  std::vector<std::uint16_t> finite, special;
  for (std::uint32_t code = 0; code < 65536; ++code)
    (((code >> 10) & 31) == 31 ? special : finite).push_back(static_cast<std::uint16_t>(code));
  const auto count = static_cast<std::int64_t>(finite.size());
  write_model(folder.path, small_config(),
              {tensor_of("w", "F16", {count}, finite), tensor_of<std::uint16_t>("nan", "F16", {2}, {0x3c00, 0x7e01}),
               tensor_of<std::uint16_t>("inf", "F16", {1}, {0xfc00})});
  const HfModel model = HfModel::open(folder.path);
  std::vector<float> wide(finite.size());
  model.read_tensor("w", DType::f32, std::vector{count}, wide.data());
  std::vector<bf16> narrow(finite.size());
  model.read_tensor("w", DType::bf16, std::vector{count}, narrow.data());
  bool exact = true, nearest = true;
  for (std::size_t i = 0; i < finite.size(); ++i) {
    exact = exact && static_cast<double>(wide[i]) == half_value(finite[i]) &&
            std::signbit(wide[i]) == ((finite[i] & 0x8000) != 0);
    nearest = nearest && narrow[i].bits == to_bf16(wide[i]).bits;
  }
  CHECK(exact);
  CHECK(nearest);
  CHECK(
      contains(error_of([&] { model.read_tensor("nan", DType::f32, std::vector<std::int64_t>{2}, wide.data()); }).text,
               "model.safetensors: tensor \"nan\" is nan at element 1; expected finite numbers"));
  CHECK(contains(
      error_of([&] { model.read_tensor("inf", DType::bf16, std::vector<std::int64_t>{1}, narrow.data()); }).text,
      "tensor \"inf\" is -inf at element 0; expected finite numbers"));
}

TEST_CASE("import: float to bf16 rounds to nearest even, over pieces and their borders") {
  TemporaryFolder folder;
  std::vector<float> values(200003);
  Random random(3);
  for (float& value : values) value = static_cast<float>(static_cast<std::int32_t>(random.word())) * 0x1p-31f;
  values[65535] = 1.00390625f;  // a tie between two bf16: to even, down
  values[65536] = 1.01171875f;  // a tie: to even, up
  write_model(folder.path, small_config(),
              {tensor_of("w", "F32", {200003}, values), tensor_of<float>("big", "F32", {1}, {3.4e38f})});
  const HfModel model = HfModel::open(folder.path);
  const std::vector<std::int64_t> shape = {200003};
  std::vector<bf16> narrow(values.size());
  model.read_tensor("w", DType::bf16, shape, narrow.data());
  bool same = true;
  for (std::size_t i = 0; i < values.size(); ++i) same = same && narrow[i].bits == to_bf16(values[i]).bits;
  CHECK(same);
  CHECK(to_float(narrow[65535]) == 1.0f);
  CHECK(to_float(narrow[65536]) == 1.015625f);
  std::vector<float> wide(values.size());
  model.read_tensor("w", DType::f32, shape, wide.data());
  CHECK(bits_of(wide) == bits_of(values));
  CHECK(contains(
      error_of([&] { model.read_tensor("big", DType::bf16, std::vector<std::int64_t>{1}, narrow.data()); }).text,
      "expected finite numbers in the range of bf16"));
}

TEST_CASE("import: a tensor that is missing, misshapen or of codes is refused by name") {
  TemporaryFolder folder;
  write_model(folder.path, small_config(),
              {tensor_of<float>("w", "F32", {2, 1}, {1, 2}), tensor_of<std::int8_t>("q", "I8", {1}, {1})});
  const HfModel model = HfModel::open(folder.path);
  float out[2];
  const auto message = [&](const char* name, std::vector<std::int64_t> shape) {
    return error_of([&] { model.read_tensor(name, DType::f32, shape, out); }).text;
  };
  CHECK(message("w", {2, 1}).empty());
  CHECK(contains(message("v", {2}), folder.path + ": has no tensor \"v\"; expected one of shape [2]"));
  CHECK(contains(message("w", {1, 2}), "tensor \"w\".shape is [2,1]; expected [1,2]"));
  CHECK(contains(message("w", {2}), "tensor \"w\".shape is [2,1]; expected [2]"));
  CHECK(contains(message("q", {1}), "tensor \"q\".dtype is I8; expected F32, BF16 or F16"));
}

TEST_CASE("import: one sentence lists what is missing, misshapen and left over") {
  TemporaryFolder folder;
  json config = small_config();
  write_model(folder.path, config,
              {random_tensor("a", "F32", {2, 3}, 1), random_tensor("b", "F32", {2}, 2),
               random_tensor("x", "F32", {1}, 3), random_tensor("lm_head.weight", "F32", {1}, 4),
               random_tensor("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {4}, 5)});
  const std::vector<ExpectedTensor> expected = {{"a", {3, 2}}, {"b", {2}}, {"c", {7}}, {"d", {1}},
                                                {"e", {1}},    {"f", {1}}, {"g", {1}}};
  const std::string message = error_of([&] { HfModel::open(folder.path).check_tensors(expected); }).text;
  INFO(message);
  CHECK(contains(message, folder.path + ": its tensors are not those of the model: "));
  CHECK(contains(message, "5 missing: c [7], d [1], e [1], f [1] and 1 more; "));
  CHECK(contains(message, "1 of another shape: a [2,3] instead of [3,2]; "));
  CHECK(contains(message, "2 without a place in the model: \"x\" [1], \"lm_head.weight\" [1]; expected 7 tensors"));
}

TEST_CASE(
    "import: of a Gemma 3 with images the language model is read, under either prefix, and the rest passed over") {
  for (const bool in_memory : {false, true}) {  // as files have it, and as the model in memory is saved
    TemporaryFolder folder;
    const auto named = [&](const std::string& name) {
      return in_memory ? "model.language_model." + name.substr(std::string("model.").size()) : "language_model." + name;
    };
    const json config = {{"model_type", "gemma3"},
                         {"vision_config", {{"hidden_size", 8}}},
                         {"text_config", {{"hidden_size", 16}, {"intermediate_size", 24}, {"num_hidden_layers", 1}}}};
    const std::string image = in_memory ? "model." : "";
    const std::vector<OwnedTensor> tensors = {
        tensor_of<float>(named("model.embed_tokens.weight"), "F32", {2, 1}, {1, 2}),
        tensor_of<float>(named("model.norm.weight"), "F32", {1}, {3}),
        random_tensor(image + "vision_tower.vision_model.embeddings.patch_embedding.weight", "F32", {3}, 4),
        random_tensor(image + "multi_modal_projector.mm_input_projection_weight", "F32", {2}, 5)};
    write_model(folder.path, config, tensors);
    const HfModel model = HfModel::open(folder.path);
    CHECK(model.spec().architecture == "gemma3_text");
    model.check_tensors(std::vector<ExpectedTensor>{{"model.embed_tokens.weight", {2, 1}}, {"model.norm.weight", {1}}});
    float out[2];
    model.read_tensor("model.embed_tokens.weight", DType::f32, std::vector<std::int64_t>{2, 1}, out);
    CHECK(out[1] == 2.0f);
    std::vector<OwnedTensor> more = tensors;
    more.push_back(random_tensor(named("model.layers.0.other.weight"), "F32", {1}, 6));
    write_model(folder.path, config, more);
    const std::string message = error_of([&] {
                                  HfModel::open(folder.path)
                                      .check_tensors(std::vector<ExpectedTensor>{{"model.embed_tokens.weight", {2, 1}},
                                                                                 {"model.norm.weight", {1}}});
                                }).text;
    CHECK(contains(message, "1 without a place in the model: \"" + more.back().name + "\" [1]"));
  }
}

TEST_CASE(
    "import: a head beside tied embeddings is passed over if it is their copy, else weights and config contradict") {
  TemporaryFolder folder;
  json config = small_config();
  config["tie_word_embeddings"] = true;
  const auto said = [&](const std::vector<OwnedTensor>& tensors) {
    write_model(folder.path, config, tensors);
    return error_of([&] {
             HfModel::open(folder.path)
                 .check_tensors(std::vector<ExpectedTensor>{{"model.embed_tokens.weight", {600, 512}}});
           })
        .text;
  };
  // Of more than one piece of a comparison; the last element differs.
  std::vector<float> values(600 * 512, 0.5f), other = values;
  other.back() = 0.25f;
  const auto embedding = tensor_of<float>("model.embed_tokens.weight", "F32", {600, 512}, values);
  CHECK(said({embedding}).empty());
  CHECK(said({embedding, tensor_of<float>("lm_head.weight", "F32", {600, 512}, values)}).empty());
  for (const auto& head : {tensor_of<float>("lm_head.weight", "F32", {600, 512}, other),
                           tensor_of<float>("lm_head.weight", "F32", {512, 600}, values)}) {
    const std::string message = said({embedding, head});
    INFO(message);
    CHECK(contains(message, "model.safetensors: lm_head.weight is another tensor than model.embed_tokens.weight, and " +
                                folder.path + "/config.json says"));
    CHECK(contains(message, "set tie_word_embeddings to false there"));
  }
}

TEST_CASE("import: a bias on o_proj is refused, whatever config.json says") {
  TemporaryFolder folder;
  write_model(folder.path, small_config(), {random_tensor("model.layers.0.self_attn.o_proj.bias", "F32", {16}, 1)});
  CHECK(contains(
      error_of([&] { HfModel::open(folder.path); }).text,
      "config.json: there is a tensor \"model.layers.0.self_attn.o_proj.bias\"; expected biases on q, k and v"));
}

TEST_CASE("import: a checkpoint opens like any other model folder") {
  TemporaryFolder run;
  const std::vector<OwnedTensor> model = {tensor_of<float>("w", "F32", {2}, {1, -2})};
  const std::string directory = write_checkpoint(run.path, {.step = 3,
                                                            .model = views(model),
                                                            .optimizer = {},
                                                            .hf_config_json = small_config().dump(),
                                                            .trainer_json = "{}",
                                                            .tokenizer = "",
                                                            .small_files = {}});
  float out[2];
  HfModel::open(directory).read_tensor("w", DType::f32, std::vector<std::int64_t>{2}, out);
  CHECK(out[1] == -2);
}

TEST_CASE("import: a folder without a config, or without weights, says so") {
  TemporaryFolder folder;
  CHECK(contains(error_of([&] { HfModel::open(folder.path); }).text, "config.json: cannot open: No such file"));
  write_bytes(folder / "config.json", small_config().dump());
  CHECK(contains(error_of([&] { HfModel::open(folder.path); }).text, "has neither model.safetensors nor"));
}

TEST_CASE("import: thousands of damaged configs are completed or refused") {
  json full = small_config("qwen2");
  full["rope_scaling"] = {{"rope_type", "default"}};
  full["layer_types"] = {"full_attention"};
  full["tie_word_embeddings"] = false;
  refusals_of_damaged(full.dump(), 4000, "config.json", [](const std::string& bad) {
    const ModelSpec spec = parse_model(bad, "config.json");
    CHECK((spec.head_dim >= 1 && spec.num_key_value_heads >= 1 && spec.vocab_size >= 1));
  });
}
