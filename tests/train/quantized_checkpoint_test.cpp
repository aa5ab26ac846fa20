// Weights as codes in a checkpoint: what a file holds is what the plan says, comes back bit for bit, and is refused
// where it cannot be right.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "bittern/checkpoint.h"
#include "bittern/hf_import.h"
#include "bittern/strict_json.h"
#include "catch.h"
#include "store/hf_config.h"
#include "store/storage_support.h"
#include "train/device_values.h"
#include "train/one_step.h"
#include "train/session/initialize_from.h"
#include "train/session/restore.h"

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

std::unique_ptr<Session> allocated(const RunConfig& config) {
  std::unique_ptr<Session> run = Session::for_training(config, 0);
  run->allocate();
  return run;
}

/// Weights, masters and moments as they are after an update with random gradients.
void fill(const Session& run, std::uint32_t seed) {
  Random random(seed);
  run.model->initialize(seed);
  const std::vector<Tensor> gradients = run.model->gradients();
  for (const Tensor& gradient : gradients) {
    std::vector<float> values(static_cast<std::size_t>(gradient.elements()));
    for (float& value : values) value = static_cast<float>(random.below(2001)) / 1000 - 1;
    write_device<float>(*run.backend, gradient, values);
  }
  update_weights(run, 0.01, 0.1, 1, 1);
}

std::string write(const Session& run, const TemporaryFolder& folder, std::int64_t step = 1) {
  return write_checkpoint(folder.path, {.step = step,
                                        .model = run.checkpoint_tensors(false, false),
                                        .optimizer = run.checkpoint_tensors(true, false),
                                        .hf_config_json = hf_config_json(run.config.model, run.config.weights, {}),
                                        .trainer_json = "{}",
                                        .tokenizer = "",
                                        .small_files = {}});
}

void set_bytes(const Session& run, const std::string& name, std::size_t at, const std::vector<std::uint8_t>& bytes) {
  for (const bool states : {false, true})
    for (const NamedTensor& tensor : run.checkpoint_tensors(states, false))
      if (tensor.name == name) {
        REQUIRE(at + bytes.size() <= tensor.data.size());
        run.backend->from_host(const_cast<std::byte*>(tensor.data.data()) + at, bytes.data(),
                               static_cast<std::int64_t>(bytes.size()));
      }
}
std::vector<std::uint8_t> bytes_of(float value) {
  std::vector<std::uint8_t> bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

}  // namespace

TEST_CASE("quantized checkpoint: codes and scales come back bit for bit, for every codec") {
  const auto settings = GENERATE_COPY(values<std::vector<std::string>>(
      {three_bits,
       {"weights.block_linear.codec=fp8_e4m3", "weights.block_linear.master=f32"},
       {"weights.block_linear.codec=ternary", "weights.block_linear.master=fp8_e4m3"},
       {"weights.block_linear.codec=int", "weights.embedding.codec=int", "weights.embedding.bits=5"},
       {"weights.head.codec=int", "weights.head.bits=7", "optimizer.states.m=bf16"},
       {"optimizer.states.m=de4", "optimizer.states.v=rank1_linear4", "optimizer.states.on=all"},
       {"optimizer.states.m=dynamic8", "optimizer.states.v=factored", "optimizer.states.block=8"},
       {"optimizer.states.m=fp8", "optimizer.states.v=fp8"},
       {"optimizer.states.block_linear.m=linear8", "optimizer.states.embedding.v=sqrt8",
        "optimizer.states.norm.m=bf16"},
       {"optimizer.states.m=de3", "optimizer.states.v=log3"},
       {"optimizer.states.m=linear2", "optimizer.states.v=de3_no_zero"}}));
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
      CHECK(bittern::bytes_of(ours[i]) == bittern::bytes_of(theirs[i]));
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

TEST_CASE("quantized checkpoint: what no run could have written is refused by file, tensor, element and value") {
  struct Damage {
    std::vector<std::string> settings;
    std::string tensor;
    std::size_t at;
    std::vector<std::uint8_t> bytes;
    std::string message;  ///< after the tensor's name
  };
  const std::string k = "model.layers.0.self_attn.k_proj.weight", scales = "expected finite scales of at least 2^-126";
  const std::string zero_or = "expected 0, or finite scales of at least 2^-126";
  const std::vector<std::string> fp8 = {"weights.block_linear.codec=fp8_e4m3"};
  const std::vector<std::string> ternary = {"weights.block_linear.codec=ternary", "weights.block_linear.master=bf16"};
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const auto damage = GENERATE_COPY(values<Damage>({
      {fp8, k + "_scale", 0, bytes_of(0.0f), " is 0 at element 0; " + scales},
      {fp8, k + "_scale", 4, bytes_of(-1.0f), " is -1 at element 1; " + scales},
      {fp8, k + "_scale", 0, bytes_of(inf), " is inf at element 0; " + scales},
      {fp8, k + "_scale", 0, bytes_of(nan), " is nan at element 0; " + scales},
      {fp8, k + "_scale", 0, bytes_of(0x1p-127f), " is 5.877472e-39 at element 0; " + scales},
      {fp8, k, 27, {0x7f}, " is nan at element 27; expected levels from -448 to 448"},
      {ternary, k, 6, {0x08}, " is -2 at element 25; expected levels from -1 to 1"},  // 24 elements, 6 bytes a row
      {ternary, "master." + k, 2, {0x80, 0x7f}, " is inf at element 1; expected finite numbers"},
      {three_bits, k, 0, {0x04}, " is -4 at element 0; expected levels from -3 to 3"},
      {three_bits, "model.layers.0.mlp.down_proj.weight", 15, {0x10}, ": bits after the last element of row 1"},
      {{"weights.head.codec=int"}, "lm_head.weight", 1, {0x80}, " is -128 at element 1; expected levels from -127"},
      {{}, k, 4, bytes_of(nan), " is nan at element 1; expected finite numbers;"},
      {{}, "m." + k, 0, bytes_of(-inf), " is -inf at element 0; expected finite numbers;"},
      {{}, "v." + k, 8, bytes_of(-1e-9f), " is -1e-09 at element 2; expected finite numbers of at least 0"},
      {{}, "v." + k, 0, bytes_of(inf), " is inf at element 0; expected finite numbers of at least 0"},
      {{"optimizer.states.v=bf16"}, "v." + k, 0, {0x80, 0xbf}, " is -1 at element 0; expected finite numbers of at"},
      {{"optimizer.states.v=fp8"}, "v." + k, 3, {0xb8}, " is -1 at element 3; expected levels from 0 to 448"},
      {{"optimizer.states.v=fp8"}, "v." + k + "_scale", 0, bytes_of(-1.0f), " is -1 at element 0; " + zero_or},
      {{"optimizer.states.v=de3_no_zero"}, "v." + k, 0, {0x07}, " is 7 at element 0; expected levels from 0 to 6"},
      {{"optimizer.states.v=log2"}, "v." + k + "_scale", 4, bytes_of(1.5f), " is 1.5 at element 1; expected an alpha"},
      {{"optimizer.states.v=log2"}, "v." + k + "_scale", 4, bytes_of(0.0f), " is 0 at element 1; expected an alpha"},
      {{"optimizer.states.v=log2"}, "v." + k + "_scale", 0, bytes_of(nan), " is nan at element 0; " + zero_or},
      {{"optimizer.states.v=rank1_linear4"},
       "v." + k + "_row",
       0,
       bytes_of(1e-39f),
       " is 1e-39 at element 0; " + zero_or},
      {{"optimizer.states.v=factored"},
       "v." + k + "_column",
       4,
       bytes_of(-1.0f),
       " is -1 at element 1; expected finite"},
  }));
  CAPTURE(damage.tensor);
  const RunConfig config = small(damage.settings);
  const auto run = allocated(config), other = allocated(config);
  fill(*run, 1);
  set_bytes(*run, damage.tensor, damage.at, damage.bytes);
  const TemporaryFolder folder;
  const Thrown thrown = error_of([&] { restore(*other, load_checkpoint(write(*run, folder))); });
  CAPTURE(thrown.text);
  CHECK(thrown.code == ExitCode::bad_input);
  CHECK(contains(thrown.text, ".safetensors: " + damage.tensor + damage.message));
  CHECK(contains(thrown.text, "use another"));
}

TEST_CASE("quantized checkpoint: damaged codes and scales are refused by --init too, and without any checksum") {
  struct Damage {
    std::vector<std::string> settings;
    std::string tensor;
    std::vector<std::uint8_t> bytes;
    std::string message;
  };
  const std::string k = "model.layers.0.self_attn.k_proj.weight";
  const auto damage = GENERATE_COPY(values<Damage>({
      {{"weights.block_linear.codec=fp8_e4m3"},
       k,
       {0x7f},
       k + " is nan at element 0; expected levels from -448 to 448"},
      {{"weights.block_linear.codec=fp8_e4m3"}, k + "_scale", bytes_of(-1.0f), k + "_scale is -1 at element 0;"},
      {three_bits, k, {0x04}, k + " is -4 at element 0; expected levels from -3 to 3"},
      {{}, k, bytes_of(std::nanf("")), k + "\" is nan at element 0; expected finite numbers"},
  }));
  CAPTURE(damage.message);
  const RunConfig config = small(damage.settings);
  const auto run = allocated(config), other = allocated(small({}));
  fill(*run, 1);
  set_bytes(*run, damage.tensor, 0, damage.bytes);
  const TemporaryFolder folder;
  const std::string checkpoint = write(*run, folder);
  std::filesystem::remove(checkpoint + "/manifest.json");  // as a folder from elsewhere
  const Thrown thrown = error_of([&] { initialize_from(*other, checkpoint); });
  CAPTURE(thrown.text);
  CHECK(thrown.code == ExitCode::bad_input);
  CHECK(contains(thrown.text, damage.message));
}

TEST_CASE("quantized checkpoint: moments that were never updated are all zeros, and load") {
  const RunConfig config = small({"optimizer.states.m=de4", "optimizer.states.v=log4"});
  const auto run = allocated(config), other = allocated(config);
  run->model->initialize(1);
  const TemporaryFolder folder;
  restore(*other, load_checkpoint(write(*run, folder)));
}

TEST_CASE("quantized checkpoint: other codecs of the same model are refused") {
  const TemporaryFolder folder;
  const auto run = allocated(small(three_bits));
  fill(*run, 1);
  const Checkpoint checkpoint = load_checkpoint(write(*run, folder));
  const auto wider = allocated(small({"weights.block_linear.codec=int", "weights.block_linear.bits=4"}));
  const std::string text = error_of([&] { restore(*wider, checkpoint); }).text;
  CAPTURE(text);
  CHECK(contains(text, " as U8 of shape ["));
  CHECK(contains(text, "], and the config asks for U8 of shape ["));
  CHECK(contains(text, "it is a checkpoint of another model or of other codecs"));
  const auto plain = allocated(small({}));
  CHECK(contains(error_of([&] { restore(*plain, checkpoint); }).text, "another model or of other codecs"));
}

TEST_CASE(
    "quantized checkpoint: config.json says what the codes are, and reads back; transformers cannot pass over it") {
  const RunConfig config =
      small({"weights.block_linear.codec=int", "weights.block_linear.bits=3", "weights.block_linear.range=full",
             "weights.mlp_linear.scale_per=tensor", "weights.head.codec=bf16"});
  const std::string text = hf_config_json(config.model, config.weights, {});
  const json hf = json::parse(text);
  CHECK(hf["quantization_config"]["format"] == "bittern");
  CHECK_FALSE(hf["quantization_config"].contains("quant_method"));  // one that it does not know is only a warning there
  const WeightsSection back = parse_quantization_config(hf, "c.json");
  json norms = hf;
  norms["quantization_config"]["weights"]["norm"] = {{"codec", "fp8_e4m3"}};
  CHECK(contains(error_of([&] { parse_quantization_config(norms, "c.json"); }).text, "weights.norm is "));
  CHECK(parse_model(text, "c.json").hidden_size == 24);  // the codes say nothing of the model
  const WeightsSection& codecs = config.weights;
  for (const RoleInfo& role : role_table) CHECK(same_codes(back[role.role], codecs[role.role]));
  CHECK_FALSE(json::parse(hf_config_json(config.model, WeightsSection{}, {})).contains("quantization_config"));
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

TEST_CASE("quantized checkpoint: thousands of damaged quantization_configs are read or refused") {
  const RunConfig config = small({"weights.block_linear.codec=int", "weights.block_linear.bits=3",
                                  "weights.mlp_linear.scale_per=tensor", "weights.head.codec=bf16"});
  const std::string good = json::parse(hf_config_json(config.model, config.weights, {}))["quantization_config"].dump();
  const int refused = refusals_of_damaged(good, 4000, "c.json", [](const std::string& bad) {
    const json whole = parse_strict_json(R"({"quantization_config":)" + bad + "}", "c.json");
    const WeightsSection read = parse_quantization_config(whole, "c.json");
    for (const WeightCodec& codec : read.values) (void)codec.dtype();
  });
  CHECK(refused > 2000);
}
