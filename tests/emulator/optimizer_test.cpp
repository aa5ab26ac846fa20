// The optimizer's step on the emulated device: the CPU's bits for every parameter that is stored as values, in any order of
// the threads, and a sentence for what has no kernel yet. A model that is trained there follows the CPU's.
#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "bittern/cuda_backend.h"
#include "catch.h"
#include "emulator/emulator.h"
#include "optim/combinations.h"
#include "train/trained_model.h"

using namespace bittern;

namespace {

std::vector<StepOptions> stored_as_values() {
  std::vector<StepOptions> all;
  for (const UpdateRule rule : {UpdateRule::adamw, UpdateRule::sgdm})
    for (const Rounding rounding : {Rounding::nearest, Rounding::stochastic})
      for (const std::string_view moments : {"f32", "bf16"}) {
        std::vector<WeightCodec> weights = {
            {},
            {.storage = WeightStorage::bf16, .master = Master::f32},
            {.storage = WeightStorage::bf16, .rounding = rounding},
            {.storage = WeightStorage::bf16, .rounding = rounding, .error_feedback = ErrorFeedback::eco}};
        for (const WeightCodec& weight : weights)
          all.push_back({.shape = Shape{5, 613},
                         .weight = weight,
                         .m = moments,
                         .v = moments,
                         .rule = rule,
                         .m_rounding = moments == "f32" ? Rounding::nearest : rounding,
                         .v_rounding = moments == "f32" ? Rounding::nearest : rounding});
      }
  for (StepOptions& options : all)
    options.options = {.lr = 3e-3, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.01};
  return all;
}

/// The mean losses of some steps, and the weights after them.
struct Training {
  std::vector<double> losses;
  std::vector<std::vector<float>> weights;
};
Training trained(const std::string& weights, int steps) {
  Trained model(with_weights(weights));
  Training result;
  for (int step = 1; step <= steps; ++step) {
    result.losses.push_back(model.compute(static_cast<std::uint32_t>(step)));
    model.update(static_cast<std::uint32_t>(step));
  }
  for (const Parameter& parameter : model.run->model->parameters()) result.weights.push_back(model.weight(parameter));
  return result;
}

struct OnEmulatedDevice {
  OnEmulatedDevice() {
    backend_maker = [](const RunSection&) { return make_cuda_backend({}); };
  }
  ~OnEmulatedDevice() { backend_maker = make_backend; }
};

}  // namespace

TEST_CASE("optimizer on the device: what is stored as values gets the CPU's bits, in any order of the threads") {
  const TestBackend cpu(make_cpu_backend(2));
  for (const StepOptions& options : stored_as_values()) {
    INFO(name_of(options));
    const Outcome expected = outcome(*cpu, options, false);
    for (const std::uint64_t seed : {0, 7}) {
      emulator::set_schedule(seed);
      const TestBackend cuda(make_cuda_backend({}));
      CHECK(outcome(*cuda, options, false) == expected);
    }
  }
  emulator::set_schedule(0);
}

TEST_CASE("optimizer on the device: what has no kernel yet is refused by name") {
  const TestBackend cuda(make_cuda_backend({}));
  const auto said = [&](const StepOptions& options) {
    try {
      outcome(*cuda, options, false);
      return std::string();
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  const StepOptions codes{
      .shape = Shape{4, 32}, .weight = {.storage = WeightStorage::fp8_e4m3}, .m = "f32", .v = "f32"};
  CHECK(said(codes).find("no kernel for weights of fp8_e4m3 yet; set run.device to \"cpu\"") != std::string::npos);
  const StepOptions moment{.shape = Shape{4, 32}, .weight = {}, .m = "de4", .v = "f32"};
  CHECK(said(moment).find("no kernel for a moment in codec de4 yet") != std::string::npos);
}

TEST_CASE("training on the device: losses follow the CPU's, the same twice") {
  for (const char* weights :
       {"", R"("block_linear": {"codec": "bf16", "rounding": "stochastic", "error_feedback": "eco"})"}) {
    INFO(weights);
    const Training cpu = trained(weights, 20);
    const OnEmulatedDevice device;
    const Training once = trained(weights, 20), again = trained(weights, 20);
    CHECK(once.losses == again.losses);
    CHECK(once.weights == again.weights);
    CHECK(cpu.losses.back() < cpu.losses.front() - 0.5);
    for (std::size_t i = 0; i < cpu.losses.size(); ++i) CHECK(once.losses[i] == Approx(cpu.losses[i]).epsilon(2e-3));
  }
}

TEST_CASE("training on the device: a copy aside holds the weights of the moment that it was asked for") {
  const OnEmulatedDevice device;
  Trained model(with_weights(""));
  model.compute(1);
  const Parameter& parameter = model.run->model->parameters()[0];
  const Tensor weight = model.run->arena->view(parameter.weight);
  const std::vector<float> before = model.weight(parameter);
  // A step up to its decision; then the copy and the update, between which the host waits for nothing.
  StepRecord record = record_of(*model.run);
  record.sums = {.loss = 1.0, .lse_squared = 1.0, .targets = 1};
  Optimizer& optimizer = *model.run->optimizer;
  const Arena& arena = *model.run->arena;
  optimizer.set_record(arena, record);
  optimizer.square_parts(arena, model.run->model->parameters());
  optimizer.decide(arena);
  auto* const host = static_cast<float*>(model.run->backend->allocate(weight.bytes(), Place::host));
  const CopyOut copy{.host = host, .device = weight.data, .bytes = weight.bytes()};
  emulator::set_streams(emulator::Streams::late);  // a stream's work is done when somebody waits for it, no sooner
  const Ticket ticket = model.run->backend->copy_aside(std::span(&copy, 1));
  optimizer.step(arena, model.run->model->parameters(), 0.005, 0.1, 1, 1);
  CHECK(model.weight(parameter) != before);  // it waits for the update, and not for the copy
  model.run->backend->wait(ticket);
  emulator::set_streams(emulator::Streams::at_once);
  CHECK(std::equal(before.begin(), before.end(), host));
  model.run->backend->release(host, weight.bytes(), Place::host);
}
