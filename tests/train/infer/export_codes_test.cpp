// What `export` writes of codes are the numbers they stand for, decoded here by their formats' definitions from the
// bytes of the checkpoint; and the exported model computes the logits that `eval` computes from the codes.
#include <cmath>

#include "bittern/checkpoint.h"
#include "bittern/trainer.h"
#include "catch.h"
#include "train/infer/inference.h"
#include "train/stored_values.h"
#include "train/tiny_corpus.h"

using namespace bittern;

namespace {

struct Codec {
  const char* name;
  int bits;  ///< 8 and fp8: E4M3
  bool fp8;
  const char* config;
};
const Codec codecs[] = {
    {"E4M3 by row", 8, true, R"({"codec":"fp8_e4m3","rounding":"stochastic","error_feedback":"eco"})"},
    {"int8 by row", 8, false, R"({"codec":"int"})"},
    {"int4 by tensor", 4, false, R"({"codec":"int","bits":4,"scale_per":"tensor","error_feedback":"eco"})"},
    {"3 bits", 3, false,
     R"({"codec":"int","bits":3,"range":"full","scale_per":"tensor","scale_from":"absmean","rounding":"stochastic"})"},
    {"ternary", 2, false, R"({"codec":"ternary","rounding":"stochastic"})"}};

RunConfig config(const std::string& codec) {
  return parse_config(
      R"({"model": {"hidden_size": 40, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 56,
      "max_position_embeddings": 64}, "data": {"sequence_length": 24, "path": ")" +
          corpus() + R"("}, "train": {"steps": 6, "batch_sequences": 4, "checkpoint_every": 0},
      "schedule": {"lr": 0.01}, "precision": {"compute": "f32"}, "weights": {"block_linear": )" +
          codec + "}}",
      "test", {});
}

/// Element i of a row: bits i * width .. of its bytes, lowest first, in two's complement; or E4M3.
double value_of(const Codec& codec, const std::uint8_t* row, std::size_t i) {
  std::uint32_t code = 0;
  for (int bit = 0; bit < codec.bits; ++bit) {
    const std::size_t at = i * static_cast<std::size_t>(codec.bits) + static_cast<std::size_t>(bit);
    code |= ((row[at / 8] >> (at % 8)) & 1u) << bit;
  }
  const auto number = static_cast<int>(code);
  if (codec.fp8) return e4m3_value(static_cast<std::uint8_t>(number));
  return number >= 1 << (codec.bits - 1) ? number - (1 << codec.bits) : number;
}

std::vector<float> logits(const std::string& folder) {
  OpenedModel opened = open_model(folder, "f32", "stored", 1);
  const auto run = load_model(opened, 2, 24, 0);
  std::vector<std::int32_t> tokens(48);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(i * 37 % 320);
  return run->model->logits(tokens);
}

}  // namespace

TEST_CASE("export: the numbers of a folder are the values of the codes, and its logits are those from the codes") {
  for (const Codec& codec : codecs) {
    CAPTURE(codec.name);
    const Scratch scratch("export_codes");
    const std::string run = scratch.path + "/run", checkpoint = run + "/checkpoints/" + checkpoint_name(6);
    REQUIRE(train(config(codec.config), {.out = run}) == ExitCode::ok);
    export_checkpoint({.checkpoint = run, .out = scratch.path + "/f32", .dtype = "f32"});
    export_checkpoint({.checkpoint = run, .out = scratch.path + "/bf16", .dtype = "bf16"});
    const SafetensorsFile stored = SafetensorsFile::open(checkpoint + "/model.safetensors");
    const SafetensorsFile f32 = SafetensorsFile::open(scratch.path + "/f32/model.safetensors");
    const SafetensorsFile bf16s = SafetensorsFile::open(scratch.path + "/bf16/model.safetensors");
    std::size_t compared = 0;
    for (const SafetensorsEntry& entry : f32.tensors()) {
      CAPTURE(entry.name);
      CHECK(entry.dtype == "F32");
      const std::vector<float> numbers = read_tensor<float>(f32, entry.name);
      if (stored.find(entry.name + "_scale") == nullptr) {
        CHECK(numbers == read_tensor<float>(stored, entry.name));
        continue;
      }
      ++compared;
      const std::vector<float> scales = read_tensor<float>(stored, entry.name + "_scale");
      const std::vector<std::uint8_t> codes = read_tensor<std::uint8_t>(stored, entry.name);
      const std::vector<std::uint16_t> halves = read_tensor<std::uint16_t>(bf16s, entry.name);
      const std::size_t rows = scales.size(), cols = numbers.size() / rows, row_bytes = codes.size() / rows;
      std::size_t wrong = 0, wrong_bf16 = 0;
      for (std::size_t i = 0; i < numbers.size(); ++i) {
        const double level = value_of(codec, codes.data() + i / cols * row_bytes, i % cols);
        const float expected = static_cast<float>(level) * scales[i / cols];  // one rounding of an exact product
        wrong +=
            numbers[i] != expected || expected != static_cast<float>(level * static_cast<double>(scales[i / cols]));
        wrong_bf16 += std::fabs(static_cast<double>(to_float(bf16{halves[i]})) - static_cast<double>(expected)) >
                      0x1p-8 * std::fabs(static_cast<double>(expected));
      }
      CHECK(wrong == 0);
      CHECK(wrong_bf16 == 0);
    }
    CHECK(compared == 14);

    const std::vector<float> from_codes = logits(run), from_numbers = logits(scratch.path + "/f32");
    REQUIRE(from_codes.size() == 48 * 320);
    double largest = 0, worst = 0;
    for (std::size_t i = 0; i < from_codes.size(); ++i) {
      largest = std::max(largest, std::fabs(static_cast<double>(from_codes[i])));
      worst = std::max(worst, std::fabs(static_cast<double>(from_codes[i]) - static_cast<double>(from_numbers[i])));
    }
    CHECK(worst < 1e-5 * largest);
  }
}

TEST_CASE("export: --weights ternary is BitNet's quantizer of what the codes stand for") {
  // gamma the mean magnitude of the tensor, levels round(w / gamma) within -1 and 1, as numbers of gamma.
  const Scratch scratch("export_ternary");
  const std::string run = scratch.path + "/run";
  REQUIRE(
      train(
          config(
              R"({"codec":"int","range":"full","scale_per":"tensor","scale_from":"absmean","rounding":"stochastic"})"),
          {.out = run}) == ExitCode::ok);
  export_checkpoint({.checkpoint = run, .out = scratch.path + "/numbers", .dtype = "f32"});
  export_checkpoint({.checkpoint = run, .out = scratch.path + "/ternary", .dtype = "f32", .weights = "ternary"});
  const SafetensorsFile numbers = SafetensorsFile::open(scratch.path + "/numbers/model.safetensors"),
                        ternary = SafetensorsFile::open(scratch.path + "/ternary/model.safetensors");
  std::size_t compared = 0;
  for (const SafetensorsEntry& entry : numbers.tensors()) {
    CAPTURE(entry.name);
    const std::vector<float> w = read_tensor<float>(numbers, entry.name), t = read_tensor<float>(ternary, entry.name);
    if (!entry.name.ends_with("_proj.weight")) {
      CHECK(t == w);
      continue;
    }
    ++compared;
    double gamma = 0;
    for (const float x : w) gamma += std::fabs(static_cast<double>(x));
    gamma /= static_cast<double>(w.size());
    std::size_t wrong = 0, zeros = 0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double ratio = static_cast<double>(w[i]) / gamma;
      if (std::fabs(std::fabs(ratio) - 0.5) < 1e-5) continue;  // a tie, but for the rounding of gamma
      const double level = std::clamp(std::nearbyint(ratio), -1.0, 1.0);
      zeros += level == 0;
      wrong += std::fabs(static_cast<double>(t[i]) - level * gamma) > 1e-6 * gamma;
    }
    CHECK(wrong == 0);
    CHECK(zeros > w.size() / 8);  // an absmax scale would make nearly all of them zero
    CHECK(zeros < w.size() / 2);
  }
  CHECK(compared == 14);
}
