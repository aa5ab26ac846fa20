// Weights as codes in a checkpoint: what a file holds is what the plan says, comes back bit for bit, and is refused
// where it cannot be right.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "bittern/checkpoint.h"
#include "bittern/hf_import.h"
#include "catch.h"
#include "storage_support.h"
#include "train/hf_config.h"
#include "train/stored_codes.h"
#include "train/trainer_state.h"

using namespace bittern;
using namespace bittern::storage_test;
using nlohmann::json;

namespace {

RunConfig small(const std::vector<std::string>& settings) {
  RunConfig config = parse_config(R"({"model": {"vocab_size": 40, "hidden_size": 24, "num_attention_heads": 2,
      "num_hidden_layers": 1, "intermediate_size": 20}, "data": {"sequence_length": 8},
      "train": {"batch_sequences": 1}, "run": {"threads": 1}, "optimizer": {"states": {"min_elements": 0}}})",
                                  "test", settings);
  return config;
}

const std::vector<std::string> three_bits = {"weights.block_linear.codec=int", "weights.block_linear.bits=3"};

std::unique_ptr<Run> allocated(const RunConfig& config) {
  std::unique_ptr<Run> run = Run::for_training(config, 0);
  run->allocate();
  return run;
}

bool is_scale(const std::string& name) {
  return name.ends_with("_scale") || name.ends_with("_row") || name.ends_with("_column");
}

/// Bytes that a run could have: any codes but E4M3's NaN, scales that are positive numbers.
void fill(const Run& run, std::uint32_t seed) {
  Random random(seed);
  for (const bool states : {false, true})
    for (const NamedTensor& tensor : run.checkpoint_tensors(states, false)) {
      auto* bytes = const_cast<std::byte*>(tensor.data.data());
      for (std::size_t i = 0; i < tensor.data.size(); ++i)
        bytes[i] = static_cast<std::byte>(random.word() & (tensor.dtype == "F8_E4M3" ? 0xbf : 0xff));
      if (!is_scale(tensor.name)) continue;
      for (std::size_t i = 0; i < tensor.data.size() / sizeof(float); ++i) {
        const float scale = 0.5f + static_cast<float>(random.below(100));
        std::memcpy(bytes + i * sizeof scale, &scale, sizeof scale);
      }
    }
}

std::string write(const Run& run, const TemporaryFolder& folder, std::int64_t step = 1) {
  return write_checkpoint(folder.path(),
                          {.step = step,
                           .model = run.checkpoint_tensors(false, false),
                           .optimizer = run.checkpoint_tensors(true, false),
                           .hf_config_json = hf_config_json(run.config.model, stored_codecs(run.config.weights), -1),
                           .trainer_json = "{}",
                           .tokenizer = "",
                           .small_files = {}});
}

void set_float(const Run& run, const std::string& name, float value) {
  for (const bool states : {false, true})
    for (const NamedTensor& tensor : run.checkpoint_tensors(states, false))
      if (tensor.name == name) std::memcpy(const_cast<std::byte*>(tensor.data.data()), &value, sizeof value);
}

}  // namespace

TEST_CASE("quantized checkpoint: codes and scales come back bit for bit, for every codec") {
  const auto settings = GENERATE_COPY(values<std::vector<std::string>>(
      {three_bits,
       {"weights.block_linear.codec=fp8_e4m3", "weights.block_linear.master=f32"},
       {"weights.block_linear.codec=ternary", "weights.block_linear.master=fp8_e4m3"},
       {"weights.block_linear.codec=int", "weights.embedding.codec=int", "weights.embedding.bits=5"},
       {"weights.head.codec=int", "weights.head.bits=7", "optimizer.states.m=bf16"}}));
  CAPTURE(settings);
  const TemporaryFolder folder;
  const RunConfig config = small(settings);
  const auto run = allocated(config), other = allocated(config);
  fill(*run, 1);
  fill(*other, 2);
  const Checkpoint checkpoint = load_checkpoint(write(*run, folder));
  restore(*other, checkpoint);
  for (const bool states : {false, true}) {
    const auto ours = run->checkpoint_tensors(states, false), theirs = other->checkpoint_tensors(states, false);
    REQUIRE(ours.size() == theirs.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      CAPTURE(ours[i].name);
      CHECK(std::ranges::equal(ours[i].data, theirs[i].data));
    }
  }
}

TEST_CASE("quantized checkpoint: packed codes are rows of bytes, a scale is beside its weight") {
  const TemporaryFolder folder;
  const auto run = allocated(small(three_bits));
  fill(*run, 1);
  const Checkpoint checkpoint = load_checkpoint(write(*run, folder));
  const SafetensorsEntry* up = checkpoint.model.find("model.layers.0.mlp.up_proj.weight");
  REQUIRE(up != nullptr);
  CHECK(up->dtype == "U8");
  CHECK(up->shape == std::vector<std::int64_t>{20, 9});  // 24 codes of 3 bits
  const SafetensorsEntry* down = checkpoint.model.find("model.layers.0.mlp.down_proj.weight");
  REQUIRE(down != nullptr);
  CHECK(down->shape == std::vector<std::int64_t>{24, 8});  // 20 codes of 3 bits: 60 bits
  const SafetensorsEntry* scale = checkpoint.model.find("model.layers.0.mlp.down_proj.weight_scale");
  REQUIRE(scale != nullptr);
  CHECK(scale->dtype == "F32");
  CHECK(scale->shape == std::vector<std::int64_t>{24});
}

TEST_CASE(
    "quantized checkpoint: scales that are not finite numbers above 0, and codes that are NaN, are refused by name") {
  const RunConfig config = small({"weights.block_linear.codec=fp8_e4m3"});
  const auto run = allocated(config), other = allocated(config);
  const std::string weight = "model.layers.0.self_attn.k_proj.weight";
  std::int64_t step = 0;
  const TemporaryFolder folder;
  const auto message = [&] { return error_of([&] { restore(*other, load_checkpoint(write(*run, folder, ++step))); }); };
  for (const float bad : {0.0f, -1.0f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    fill(*run, 1);
    set_float(*run, weight + "_scale", bad);
    const Thrown thrown = message();
    CAPTURE(thrown.text);
    CHECK(thrown.code == ExitCode::bad_input);
    CHECK(contains(thrown.text, weight + "_scale is "));
    CHECK(contains(thrown.text, "at element 0; expected finite scales above 0"));
  }
  fill(*run, 1);
  set_float(*run, weight, std::nanf(""));  // its last byte is 0x7f
  CHECK(contains(message().text, weight + " is NaN at element 3; expected numbers"));
}

TEST_CASE("quantized checkpoint: other codecs of the same model are refused") {
  const TemporaryFolder folder;
  const auto run = allocated(small(three_bits));
  fill(*run, 1);
  const Checkpoint checkpoint = load_checkpoint(write(*run, folder));
  const auto wider = allocated(small({"weights.block_linear.codec=int", "weights.block_linear.bits=4"}));
  CHECK(contains(
      error_of([&] { restore(*wider, checkpoint); }).text,
      "is missing, or not the U8 of 288 bytes that the config asks for; it is a checkpoint of another model or "
      "of other codecs"));
  const auto plain = allocated(small({}));
  CHECK(contains(error_of([&] { restore(*plain, checkpoint); }).text, "another model or of other codecs"));
}

TEST_CASE(
    "quantized checkpoint: config.json says what the codes are, and reads back; transformers cannot pass over it") {
  const RunConfig config =
      small({"weights.block_linear.codec=int", "weights.block_linear.bits=3", "weights.block_linear.range=full",
             "weights.mlp_linear.scale_per=tensor", "weights.head.codec=bf16"});
  const std::string text = hf_config_json(config.model, stored_codecs(config.weights), -1);
  const json hf = json::parse(text);
  CHECK(hf["quantization_config"]["format"] == "bittern");
  CHECK_FALSE(hf["quantization_config"].contains("quant_method"));  // one that it does not know is only a warning there
  const StoredCodecs back = parse_quantization_config(hf, "c.json");
  json norms = hf;
  norms["quantization_config"]["weights"]["norm"] = {{"codec", "fp8_e4m3"}};
  CHECK(contains(error_of([&] { parse_quantization_config(norms, "c.json"); }).text, "weights.norm is "));
  CHECK(parse_model(text, "c.json").hidden_size == 24);  // the codes say nothing of the model
  const StoredCodecs codecs = stored_codecs(config.weights);
  for (std::size_t role = 0; role < back.size(); ++role) CHECK(same_codes(back[role], codecs[role]));
  CHECK_FALSE(json::parse(hf_config_json(config.model, StoredCodecs{}, -1)).contains("quantization_config"));
}

TEST_CASE("quantized checkpoint: a quantization_config that is not bittern's is refused by its part") {
  const auto [value, part] = GENERATE(table<std::string, std::string>({
      {R"("fp8")", "quantization_config is \"fp8\"; expected null or bittern's own"},
      {R"({"quant_method": "gptq", "bits": 4})", "must be dequantized first; choose another model"},
      {R"({"format": "bittern"})", "quantization_config.version is null; this bittern reads version 1"},
      {R"({"format": "bittern", "version": 1, "weights": 3})", "quantization_config.weights is 3; expected an object"},
      {R"({"format": "bittern", "version": 1, "weights": {"router": {}}})",
       "quantization_config.weights.router is no role of weights"},
      {R"({"format": "bittern", "version": 1, "weights": {"head": "int"}})",
       "quantization_config.weights.head is \"int\"; expected an object with a codec"},
      {R"({"format": "bittern", "version": 1, "weights": {"head": {"codec": "int", "bits": 9}}})",
       "quantization_config.weights.head.bits is 9; expected a whole number from 2 to 8"},
      {R"({"format": "bittern", "version": 1, "weights": {"head": {"codec": "nf4"}}})",
       "quantization_config.weights.head.codec is \"nf4\"; expected one that bittern writes"},
  }));
  const Thrown thrown = error_of(
      [&] { (void)parse_quantization_config(json::parse(R"({"quantization_config":)" + value + "}"), "c.json"); });
  CHECK(thrown.code == ExitCode::bad_input);
  CHECK(thrown.text.starts_with("c.json: "));
  CHECK(contains(thrown.text, part));
}
