// One step of a tiny model: what a step that is skipped leaves as it was, and what goes on.
#include "train/step.h"

#include <cmath>
#include <limits>

#include "bittern/schedule.h"
#include "train/device_values.h"
#include "train/session/set_up.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;

namespace {

void append(std::string& bytes, const NamedTensor& tensor) {
  const std::vector<std::byte> own = bittern::bytes_of(tensor);
  bytes.append(reinterpret_cast<const char*>(own.data()), own.size());
}

/// A training that is set up in a folder of its own, and changed by hand between its steps.
struct ByHand {
  Scratch scratch{"step"};
  Console console{2};
  Training t;

  explicit ByHand(const std::string& extra = "{}")
      : t(set_up_training(config(extra), {.out = scratch.path + "/run"}, console)) {}
  ~ByHand() { stop_logging(); }
  StepMetrics step() { return step(Batch(*t.session, t.state.step + 1)); }
  StepMetrics step(const Batch& batch) {
    const std::optional<StepMetrics> metrics = train_step(*t.session, t.state, batch);
    REQUIRE(metrics);
    return *metrics;
  }
  Tensor weight(const std::string& name) {
    for (const Parameter& parameter : t.session->model->parameters())
      if (parameter.spec.name == name) return t.session->arena->view(parameter.weight);
    FAIL("no " << name);
    return {};
  }
  void fill(const Tensor& tensor, float value) {
    write_device<float>(*t.session->backend, tensor,
                        std::vector<float>(static_cast<std::size_t>(tensor.elements()), value));
  }
  /// The bytes of every weight and moment.
  std::string state() const {
    std::string bytes;
    for (const bool optimizer : {false, true})
      for (const NamedTensor& tensor : t.session->checkpoint_tensors(optimizer, false)) append(bytes, tensor);
    return bytes;
  }
};

}  // namespace

TEST_CASE(
    "step: a loss that is not finite changes no weight and no moment; data and schedule go on, Adam's t does not") {
  ByHand run;
  TrainingState& state = run.t.state;
  run.step();
  run.step();
  CHECK(state.update == 2);
  for (const std::int64_t in_a_row : {1, 2}) {
    const DeviceNumber poisoned(*run.t.session->backend, run.weight("model.norm.weight"), 0);
    const float before = poisoned;
    poisoned = std::numeric_limits<float>::quiet_NaN();
    const std::string whole = run.state();
    const StepMetrics metrics = run.step();
    CHECK(metrics.skipped);
    CHECK_FALSE(std::isfinite(metrics.loss));
    CHECK(run.state() == whole);
    poisoned = before;
    CHECK(state.update == 2);
    CHECK(state.step == 2 + in_a_row);
    CHECK(state.tokens == state.step * 4 * 24);
    CHECK(metrics.tokens == state.tokens);
    CHECK(metrics.skipped_steps == in_a_row);
    CHECK(state.skipped_in_a_row == in_a_row);
  }
  const std::string whole = run.state();
  const StepMetrics good = run.step();
  CHECK_FALSE(good.skipped);
  CHECK(good.step == 5);
  CHECK(good.lr == learning_rate(run.t.session->config.schedule, run.t.session->config.train.steps, 5));
  CHECK(run.state() != whole);
  CHECK(state.update == 3);
  CHECK(state.skipped_steps == 2);
  CHECK(state.skipped_in_a_row == 0);
}

TEST_CASE("step: Adam after a skipped step is Adam that never saw it") {
  // Two steps on the same batches; between them one run skips a step. With a constant rate only t could differ.
  const auto trained = [](bool skip) {
    ByHand run;
    run.t.session->config.schedule.shape = "constant";
    run.t.session->config.schedule.warmup_steps = 0;
    const Batch first(*run.t.session, 1), last(*run.t.session, 2);
    run.step(first);
    if (skip) {
      Batch ignored = first;
      std::ranges::fill(ignored.targets, -1);
      ignored.total_targets = 0;
      CHECK(run.step(ignored).skipped);
    }
    run.step(last);
    return run.state();
  };
  CHECK(trained(true) == trained(false));
}

TEST_CASE("step: a finite loss with a gradient that is not finite is skipped too") {
  ByHand run;
  run.step();
  // Logits of 0, so a loss of log V; but the norm's gradient is a product with this row of the head.
  run.fill(run.weight("model.norm.weight"), 0.0f);
  run.fill(run.weight("lm_head.weight").slice_rows(5, 1), 3e38f);
  Batch batch(*run.t.session, 2);
  std::ranges::fill(batch.tokens, 7);
  std::ranges::fill(batch.targets, 5);
  const std::string whole = run.state();
  const StepMetrics metrics = run.step(batch);
  CHECK(metrics.loss == Approx(std::log(320.0)));
  CHECK_FALSE(std::isfinite(metrics.grad_norm));
  CHECK(metrics.skipped);
  CHECK(run.state() == whole);
  CHECK(run.t.state.update == 1);
}

TEST_CASE("step: a loss far above its running mean is skipped where the config asks for it, and counted") {
  for (const bool guarded : {false, true}) {
    CAPTURE(guarded);
    ByHand run(guarded ? R"({"train": {"skip_deviations": 5}})" : "{}");
    Session& session = *run.t.session;
    // As if a hundred updates had ended at a loss of 2 +- 0.1, far below what this model has.
    StepRecord record;
    record.updates = run.t.state.update = 100;
    record.means = {.loss = 2, .loss_square = 4.01, .norm = 100, .norm_square = 20000, .steps = 100};
    session.optimizer->set_record(*session.arena, record);
    const std::string whole = run.state();
    const StepMetrics metrics = run.step();
    CHECK(metrics.loss > 5);
    CHECK(metrics.skipped == guarded);
    CHECK((run.state() == whole) == guarded);
    CHECK(run.t.state.update == (guarded ? 100 : 101));
    CHECK(run.t.state.skipped_in_a_row == (guarded ? 1 : 0));
    CHECK((run.t.state.means == record.means) == guarded);
  }
}

TEST_CASE("step: ignored targets do no harm, all of them or those of a whole micro-batch") {
  ByHand run;
  run.step();
  Batch all(*run.t.session, 2);
  std::ranges::fill(all.targets, -1);
  all.total_targets = 0;
  const std::string whole = run.state();
  CHECK(run.step(all).skipped);
  CHECK(run.state() == whole);
  CHECK(run.t.state.update == 1);

  Batch half(*run.t.session, 3);
  std::fill_n(half.targets.begin(), half.targets.size() / 2, -1);  // the first of two micro-batches
  half.total_targets = static_cast<std::int64_t>(half.targets.size() / 2);
  const StepMetrics metrics = run.step(half);
  CHECK_FALSE(metrics.skipped);
  CHECK((metrics.loss > 1 && metrics.loss < 7));  // a mean over the targets that count
  CHECK(std::isfinite(metrics.grad_norm));
  CHECK(run.state() != whole);
  CHECK(run.t.state.update == 2);
}

TEST_CASE("step: a snapshot stays what it was while the weights change") {
  ByHand run;
  run.step();
  const auto bytes_of_snapshot = [&] {
    std::string bytes;
    for (const bool optimizer : {false, true})
      for (const NamedTensor& tensor : run.t.session->checkpoint_tensors(optimizer, true)) append(bytes, tensor);
    return bytes;
  };
  run.t.session->take_snapshot();
  const std::string taken = run.state();
  CHECK(bytes_of_snapshot() == taken);
  run.step();
  run.step();
  CHECK(run.state() != taken);
  CHECK(bytes_of_snapshot() == taken);
}
