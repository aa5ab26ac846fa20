// --init from what transformers saved: every parameter of the model, from a sharded F16 folder and from a BF16 one.
#include "train/session/initialize_from.h"

#include <cstring>
#include <map>
#include <tuple>

#include "bittern/quant/bf16.h"
#include "catch.h"
#include "model/golden.h"

using namespace bittern;

namespace {

/// A half or a bf16 by the definition of its format: sign, exponent, fraction.
double value_of(std::uint16_t bits, const std::string& dtype) {
  const int fraction_bits = dtype == "F16" ? 10 : 7, bias = dtype == "F16" ? 15 : 127;
  const int exponent = (bits & 0x7fff) >> fraction_bits, fraction = bits & ((1 << fraction_bits) - 1);
  const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias - fraction_bits)
                                         : std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
  return bits & 0x8000 ? -magnitude : magnitude;
}

/// What the folder's files say, value by value.
std::vector<double> stored_values(const SafetensorsFolder& folder, const std::string& name, const std::string& dtype) {
  const SafetensorsEntry* entry = folder.find(name);
  REQUIRE(entry != nullptr);
  REQUIRE(entry->dtype == dtype);
  std::vector<std::uint16_t> bits(static_cast<std::size_t>(entry->bytes / 2));
  folder.read(name, std::as_writable_bytes(std::span(bits)));
  std::vector<double> values;
  for (const std::uint16_t word : bits) values.push_back(value_of(word, dtype));
  return values;
}

}  // namespace

TEST_CASE("--init: every parameter is what the folder holds, in shards of F16 or in one file of BF16") {
  for (const auto& [name, dtype, files] : {std::tuple{"storage/qwen3_sharded", "F16", std::size_t{3}},
                                           std::tuple{"storage/llama_tied", "BF16", std::size_t{1}}}) {
    INFO(name);
    const RunConfig config = golden::config_of(name, 1, 8);
    const std::unique_ptr<Session> run = golden::start(config, name);
    const SafetensorsFolder folder = SafetensorsFolder::open(golden::folder(name));
    std::map<std::string, int> read_from;
    for (const Parameter& parameter : run->model->parameters()) {
      INFO(parameter.spec.name);
      const std::vector<double> expected = stored_values(folder, parameter.spec.name, dtype);
      const std::vector<float> actual = golden::to_host(*run, parameter.weight);
      REQUIRE(actual.size() == expected.size());
      CHECK(std::equal(actual.begin(), actual.end(), expected.begin(), [](float a, double b) { return a == b; }));
      ++read_from[folder.file_of(*folder.find(parameter.spec.name))];
    }
    CHECK(read_from.size() == files);
    CHECK(run->model->parameters().size() == folder.tensors().size());
  }
}

TEST_CASE("--init: weights that the run keeps in bf16 are those of a BF16 folder bit by bit, of F16 rounded once") {
  for (const auto& [name, dtype] :
       {std::pair{"storage/qwen3_sharded", "F16"}, std::pair{"storage/llama_tied", "BF16"}}) {
    RunConfig config = golden::config_of(name, 1, 8);
    config.weights[Role::attention_linear].storage = config.weights[Role::mlp_linear].storage = WeightStorage::bf16;
    const std::unique_ptr<Session> run = golden::start(config, name);
    const SafetensorsFolder folder = SafetensorsFolder::open(golden::folder(name));
    int compared = 0;
    for (const Parameter& parameter : run->model->parameters()) {
      const Tensor weight = run->arena->view(parameter.weight);
      if (weight.dtype != DType::bf16) continue;
      INFO(parameter.spec.name);
      std::vector<bf16> actual(static_cast<std::size_t>(weight.elements()));
      run->backend->to_host(actual.data(), weight.data, weight.bytes());
      std::vector<bf16> expected;
      for (const double value : stored_values(folder, parameter.spec.name, dtype))
        expected.push_back(to_bf16(static_cast<float>(value)));
      REQUIRE(actual.size() == expected.size());
      CHECK(std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(bf16)) == 0);
      ++compared;
    }
    CHECK(compared == 2 * 7);
  }
}
