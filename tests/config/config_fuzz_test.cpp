// Seeded mutations of good configs: each is accepted, and then reads back to itself, or refused as the user's input.
#include "bittern/quant/philox.h"
#include "config/config_support.h"

using namespace bittern;

namespace {

const std::vector<std::string> seeds = {
    R"({"run": {"name": "x", "seed": 7}, "train": {"steps": 10, "batch_sequences": 4, "micro_batch_sequences": 2, "z_loss": 1e-4}})",
    R"({"model": {"model_type": "qwen3", "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}, "layer_types": ["full_attention"], "torch_dtype": "float32"}})",
    R"({"optimizer": {"betas": [0.9, 0.99], "states": {"m": "bf16", "v": "f32"}}, "precision": {"compute": "f32"},
        "weights": {"block_linear": {"codec": "bf16", "master": "none"}, "mlp_linear": {"rounding": "stochastic"}}})",
    R"({"extends": "nowhere.json", "model": "nowhere/config.json", "data": {"path": "\u00e9\n", "shuffle": false}})"};
const std::vector<std::string> pieces = {
    "{",       "}",    "[",         "]",         ",",        ":",           "\"",
    "null",    "true", "-1",        "1e999",     "0",        "1e308",       "9223372036854775808",
    "\\u0000", "\xff", "\"steps\"", "\"model\"", "\"from\"", "\"weights\"", "{}",
    "[]",      "//",   "\"\"",      "1e-320",    "-0.0",     "\xe2\x82"};

class Mutator {
 public:
  explicit Mutator(std::uint32_t stream) : stream_(stream) {}
  std::size_t below(std::size_t bound) {
    return philox(philox_key(1, Purpose::test), index_++, 0, stream_) % std::max<std::size_t>(bound, 1);
  }
  std::string mutate(std::string text) {
    for (std::size_t edits = 1 + below(3); edits > 0; --edits) {
      const std::size_t at = below(text.size() + 1), length = std::min(below(12), text.size() - at);
      switch (below(8)) {
        case 0:
          text.erase(at, length);
          break;
        case 1:
          text.insert(at, pieces[below(pieces.size())]);
          break;
        case 2:
          text.replace(at, length, pieces[below(pieces.size())]);
          break;
        case 3:
          text.insert(at, text.substr(below(text.size() + 1), below(40)));
          break;
        case 4:
          if (at < text.size()) text[at] = static_cast<char>(below(256));
          break;
        default:
          if (const std::size_t digit = text.find_first_of("0123456789", at); digit != std::string::npos)
            text[digit] = static_cast<char>('0' + below(10));
      }
    }
    return text;
  }

 private:
  std::uint32_t stream_;
  std::uint64_t index_ = 0;
};

// "accepted", "refused", or what went wrong.
std::string outcome(const std::string& text, const std::vector<std::string>& settings) {
  try {
    const std::string once = config_json(parse_config(text, "fuzz.json", settings));
    return config_json(parse_config(once, "once.json")) == once ? "accepted" : "does not read back";
  } catch (const Error& error) {
    return error.exit_code() == ExitCode::bad_input && std::string_view(error.what()).size() < 4000
               ? "refused"
               : std::string("not the user's fault: ") + error.what();
  } catch (const std::exception& error) {
    return std::string("another exception: ") + error.what();
  }
}

}  // namespace

TEST_CASE("config: mutated configs and settings never crash, never throw anything but a sentence for the user") {
  int accepted = 0, refused = 0;
  for (std::uint32_t i = 0; i < 8000; ++i) {
    Mutator mutator(i);
    const std::string text = mutator.mutate(seeds[i % seeds.size()]);
    std::vector<std::string> settings;
    if (i % 3 == 0) settings.push_back(mutator.mutate("optimizer.betas=[0.9, 0.95]"));
    if (i % 5 == 0) settings.push_back(mutator.mutate("model={\"hidden_size\": 64}"));
    const std::string result = outcome(text, settings);
    accepted += result == "accepted";
    refused += result == "refused";
    if (result != "accepted" && result != "refused") FAIL(result << "\n" << text);
  }
  CHECK(accepted > 100);
  CHECK(refused > 1000);
}
