// Whole models on the emulated device: logits, losses and every gradient of every family against transformers' in double
// precision, as the CPU's are held against (tests/train/model_golden_test.cpp); generation with caches.
#include <string>
#include <vector>

#include "bittern/cuda_backend.h"
#include "catch.h"
#include "emulator/emulator.h"
#include "model/golden.h"
#include "train/one_step.h"

using namespace bittern;
using namespace bittern::golden;

namespace {

/// Sessions that begin while this exists compute on the emulated device.
struct OnEmulatedDevice {
  OnEmulatedDevice() {
    backend_maker = [](const RunSection&) { return make_cuda_backend({}); };
  }
  ~OnEmulatedDevice() { backend_maker = make_backend; }
};

struct Model {
  std::string name;
  Golden golden;
  std::vector<std::int32_t> tokens, targets;
  std::int64_t batch, length, valid = 0;

  explicit Model(const std::string& folder_name)
      : name(folder_name),
        golden(name),
        tokens(golden.ints("tokens")),
        targets(golden.ints("targets")),
        batch(golden.shape("tokens").at(0)),
        length(golden.shape("tokens").at(1)) {
    for (const std::int32_t target : targets) valid += target >= 0;
  }

  /// The largest error of the gradients, each beside its largest element.
  double check(const RunConfig& config, double of_logits, double of_loss) const {
    const std::unique_ptr<Session> run = start(config, name);
    CHECK(relative_error(golden.floats("logits"), run->model->logits(tokens)) < of_logits);
    const LossSums sums = forward_backward(*run, tokens, targets, valid, true);
    CHECK(sums.targets == valid);
    CHECK(sums.loss / static_cast<double>(valid) == Approx(golden.floats("loss").at(0)).epsilon(of_loss));
    double worst = 0;
    for (const Parameter& parameter : run->model->parameters())
      worst = std::max(worst,
                       relative_error(golden.floats("grad." + parameter.spec.name), to_host(*run, parameter.gradient)));
    return worst;
  }
};

}  // namespace

TEST_CASE("models on the device: logits, losses and gradients of every family are those of transformers") {
  const OnEmulatedDevice device;
  for (const char* name : {"llama_gqa", "llama_tied", "qwen2", "qwen3", "gemma2", "gemma3", "bitnet",
                           "llama_fp8_e4m3_row", "qwen2_fp8_e4m3_row", "llama_int8_token", "bitnet_int8_token"}) {
    INFO(name);
    const Model model(name);
    CHECK(model.check(config_of(name, model.batch, model.length), 2e-5, 2e-6) < 2e-5);
  }
}

TEST_CASE("models on the device: bf16 stays as near to the truth as its 8 bits allow, in any order of the threads") {
  const OnEmulatedDevice device;
  for (const char* name : {"llama_gqa", "gemma2", "gemma3"})
    for (const std::uint64_t seed : {0, 3}) {
      INFO(name << " order " << seed);
      emulator::set_schedule(seed);
      const Model model(name);
      RunConfig config = config_of(name, model.batch, model.length);
      config.precision.compute = config.precision.residual = DType::bf16;
      CHECK(model.check(config, 0.05, 0.02) < 0.1);
    }
  emulator::set_schedule(0);
}

TEST_CASE("models on the device: generation with a cache gives the logits of the whole sequence") {
  const OnEmulatedDevice device;
  for (const char* name : {"llama_gqa", "qwen3", "gemma2", "gemma3"}) {
    INFO(name);
    const Model model(name);
    const std::unique_ptr<Session> run = start(config_of(name, model.batch, model.length), name, model.length);
    const std::vector<float> expected = model.golden.floats("logits");
    const auto V = static_cast<std::size_t>(run->model->spec().vocab_size), T = static_cast<std::size_t>(model.length);
    const std::span<const std::int32_t> sequence = std::span<const std::int32_t>(model.tokens).first(T);
    std::size_t at = 0;
    for (const std::size_t piece : {std::size_t{5}, std::size_t{3}, std::size_t{1}, T - 9}) {
      const std::vector<float> logits =
          run->model->next_logits(sequence.subspan(at, piece), static_cast<std::int64_t>(at));
      at += piece;
      CHECK(relative_error(std::span(expected).subspan((at - 1) * V, V), logits) < 2e-5);
    }
  }
}
