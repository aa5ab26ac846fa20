// train.fused_backward: a layer is updated while backward runs below it. Without clipping, or with the norm known
// beforehand (exact), a step has the bits of one whose gradients are all kept; gradients of one layer exist at a time;
// what is not finite stops the updates there; a run goes on as any other.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bittern/layer_events.h"
#include "bittern/poison.h"
#include "train/device_values.h"
#include "train/protected_backend.h"
#include "train/session/session.h"
#include "train/session/set_up.h"
#include "train/step.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;

namespace {

constexpr const char* whole_batch = R"({"train": {"micro_batch_sequences": 0}})";

/// `extra`, with the batch at once, and these members of train.
std::string with_train(const std::string& extra, const std::string& train) {
  nlohmann::json json = nlohmann::json::parse(whole_batch);
  json.merge_patch(nlohmann::json::parse(extra));
  json["train"].merge_patch(nlohmann::json::parse(train));
  return json.dump();
}
std::string fused(const std::string& extra = "{}", const std::string& clip = "last_norm") {
  return with_train(extra, R"({"fused_backward": true, "fused_clip": ")" + clip + "\"}");
}
std::string buffered(const std::string& extra = "{}") {
  return with_train(extra, "{}");
}

/// A training whose steps are made by hand.
struct ByHand {
  Scratch scratch{"fused"};
  Console console{2};
  Training t;

  explicit ByHand(const std::string& extra)
      : t(set_up_training(config(extra), {.out = scratch.path + "/run"}, console)) {}
  ~ByHand() { stop_logging(); }
  Session& session() { return *t.session; }
  StepMetrics step() {
    const std::optional<StepMetrics> metrics = train_step(session(), t.state, Batch(session(), t.state.step + 1));
    REQUIRE(metrics);
    return *metrics;
  }
  const Parameter& parameter(const std::string& name) {
    for (const Parameter& parameter : session().model->parameters())
      if (parameter.spec.name == name) return parameter;
    throw std::runtime_error("no " + name);
  }
  std::vector<float> values(const Parameter& parameter) {
    return decoded(*session().backend, scaled(*session().arena, parameter.weight, parameter.scale));
  }
  void fill(const std::string& name, float value) {
    const Tensor weight = session().arena->view(parameter(name).weight);
    write_device<float>(*session().backend, weight,
                        std::vector<float>(static_cast<std::size_t>(weight.elements()), value));
  }
  /// Of the last step's gradients, in the order of the buckets' numbers.
  std::vector<double> squares_of_buckets() {
    std::vector<double> parts, buckets(4);
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(session().plan.tensors().size()); ++i)
      if (session().plan[TensorId{i}].name == "gradient_squares")
        parts = read_device<double>(*session().backend, session().arena->view(TensorId{i}));
    std::size_t next = 0;
    for (const Parameter& parameter : session().model->parameters())
      for (std::int64_t n = square_parts_of(Tensor(nullptr, DType::f32, parameter.spec.shape)); n > 0; --n)
        buckets[static_cast<std::size_t>(bucket_of(parameter.spec, 2))] += parts[next++];
    REQUIRE(next == parts.size());
    return buckets;
  }
  /// Weights, masters and moments, bit for bit.
  std::vector<std::vector<std::byte>> state() {
    std::vector<std::vector<std::byte>> all;
    for (const bool optimizer : {false, true})
      for (const NamedTensor& tensor : session().checkpoint_tensors(optimizer, false))
        all.push_back(bittern::bytes_of(tensor));
    return all;
  }
};

/// Four steps of both give the same losses, norms and bytes. `poison`: dead memory of the fused run is filled with NaN.
void check_same_steps(const std::string& one, const std::string& other, bool poison = false) {
  ByHand a(one), b(other);
  Poison dead(*a.session().backend, *a.session().arena);
  if (poison) a.session().model->on_point([&](Point point) { dead.reach(point); });
  for (int i = 0; i < 4; ++i) {
    const StepMetrics of_a = a.step(), of_b = b.step();
    CHECK(of_a.loss == of_b.loss);
    CHECK(of_a.grad_norm == of_b.grad_norm);
    CHECK(of_a.clip_scale == of_b.clip_scale);
    CHECK_FALSE(of_b.skipped);
    CHECK((a.state() == b.state()));
  }
  CHECK(a.t.state.update == b.t.state.update);
  CHECK(a.t.state.means == b.t.state.means);
  if (poison) CHECK(dead.filled_bytes() > 0);
}

const char* const models[] = {
    "{}",
    R"({"model": {"tie_word_embeddings": true}})",
    R"({"model": {"architecture": "qwen2", "tie_word_embeddings": true}, "train": {"recompute": "block"}})",
    R"({"model": {"architecture": "qwen3", "head_dim": 8}, "precision": {"compute": "bf16"}})",
    R"({"model": {"architecture": "bitnet"}, "precision": {"activations": "int8_token"},
        "weights": {"block_linear": {"codec": "ternary", "master": "f32"}}})",
};

const char* const recipes[] = {
    R"({"weights": {"block_linear": {"codec": "fp8_e4m3", "rounding": "stochastic", "error_feedback": "eco"},
                    "embedding": {"codec": "int", "bits": 5}},
        "optimizer": {"clip_grad_norm": 0, "states": {"m": "dynamic8", "v": "factored", "min_elements": 0}}})",
    R"({"weights": {"block_linear": {"codec": "int", "bits": 4, "scale_per": "tensor", "error_feedback": "eco"}},
        "optimizer": {"clip_grad_norm": 0, "states": {"m": "de4", "v": "rank1_linear4", "on": "all", "min_elements": 0}},
        "model": {"tie_word_embeddings": true}, "train": {"recompute": "block", "statistics_every": 2}})",
    R"({"weights": {"block_linear": {"codec": "ternary", "rounding": "stochastic"}},
        "optimizer": {"clip_grad_norm": 0, "states": {"m": "fp8", "v": "log2", "min_elements": 0}}})",
    R"({"optimizer": {"clip_grad_norm": 0, "rule": "adafactor", "betas": [0.9, 0.95]},
        "weights": {"block_linear": {"codec": "bf16", "rounding": "stochastic"}}, "model": {"tie_word_embeddings": true}})",
    R"({"optimizer": {"clip_grad_norm": 0, "rule": "sgdm"}})",
    R"({"optimizer": {"clip_grad_norm": 0, "rule": "muon", "states": {"m": "linear8", "on": "linears", "min_elements": 0}},
        "weights": {"block_linear": {"codec": "fp8_e4m3", "rounding": "stochastic"}}})",
};

std::string unclipped(const std::string& extra) {
  nlohmann::json json = nlohmann::json::parse(extra);
  json["optimizer"]["clip_grad_norm"] = 0;
  return json.dump();
}

}  // namespace

TEST_CASE("fused backward: without clipping it has the bits of the buffered step, in every family") {
  for (const char* model : models) {
    CAPTURE(model);
    check_same_steps(fused(unclipped(model)), buffered(unclipped(model)));
  }
}

TEST_CASE("fused backward: so with codes, states in few bits and every rule; dead memory is not read") {
  for (const char* recipe : recipes) {
    CAPTURE(recipe);
    check_same_steps(fused(recipe), buffered(recipe), true);
  }
}

TEST_CASE("fused backward: with fused_clip exact it has the bits of the buffered step that clips") {
  for (const char* model : models) {
    CAPTURE(model);
    nlohmann::json json = nlohmann::json::parse(model);
    json["optimizer"]["clip_grad_norm"] = 0.3;
    check_same_steps(fused(json.dump(), "exact"), buffered(json.dump()), true);
  }
}

TEST_CASE(
    "fused backward: last_norm clips by the mean norm of earlier updates, and by what the step has shown so far") {
  // SGD without momentum and decay: a parameter moves by rate * factor * gradient, so how far a bucket moved tells by
  // which factor.
  const std::string plain =
      R"({"optimizer": {"rule": "sgdm", "betas": [0, 0.95], "weight_decay": 0, "clip_grad_norm": 0.25},
      "schedule": {"shape": "constant", "warmup_steps": 0, "lr": 0.5}})";
  ByHand run(fused(plain));
  double mean = 0;
  for (int step = 1; step <= 3; ++step) {
    CAPTURE(step);
    std::vector<std::vector<float>> before;
    const auto parameters = std::as_const(*run.session().model).parameters();
    for (const Parameter& parameter : parameters) before.push_back(run.values(parameter));
    const StepMetrics metrics = run.step();
    std::vector<double> moved(4), squares = run.squares_of_buckets();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const std::vector<float> after = run.values(parameters[i]);
      double& sum = moved[static_cast<std::size_t>(bucket_of(parameters[i].spec, 2))];
      for (std::size_t j = 0; j < after.size(); ++j)
        sum += std::pow(static_cast<double>(after[j]) - static_cast<double>(before[i][j]), 2);
    }
    double so_far = 0, factor = 0;
    for (const std::size_t bucket : {2, 1, 0, 3}) {  // head, block 1, block 0, embedding
      so_far += squares[bucket];
      factor = std::min(1.0, 0.25 / std::max(mean, std::sqrt(so_far)));
      CHECK(std::sqrt(moved[bucket]) == Approx(0.5 * factor * std::sqrt(squares[bucket])).epsilon(1e-4));
      CHECK(std::sqrt(moved[bucket]) <= 0.5 * 0.25 * 1.0001);  // whatever earlier steps were like
    }
    CHECK(metrics.grad_norm == Approx(std::sqrt(so_far)).epsilon(1e-6));
    CHECK(metrics.clip_scale == Approx(factor).epsilon(1e-6));  // of the last bucket
    CHECK(metrics.clip_scale < 1);
    mean += (metrics.grad_norm - mean) / step;
    CHECK(run.t.state.means.norm == Approx(mean).epsilon(1e-6));
  }
}

TEST_CASE("fused backward: what is not finite is left with all after it; those before it are updated, and it is said") {
  ByHand run(fused(unclipped("{}")));
  run.step();
  // Block 1's attention reads zeros, so the loss is what it is without it; its gradients overflow on the way back.
  run.fill("model.layers.1.input_layernorm.weight", 0.0f);
  run.fill("model.layers.1.self_attn.v_proj.weight", 3e38f);
  run.fill("model.layers.1.self_attn.o_proj.weight", 1e10f);
  std::vector<std::vector<float>> before;
  const auto parameters = std::as_const(*run.session().model).parameters();
  for (const Parameter& parameter : parameters) before.push_back(run.values(parameter));
  const StepMetrics metrics = run.step();
  CHECK(std::isfinite(metrics.loss));
  CHECK_FALSE(std::isfinite(metrics.grad_norm));
  CHECK_FALSE(metrics.skipped);
  REQUIRE(metrics.left_from_bucket);
  CHECK(*metrics.left_from_bucket == 1);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    CAPTURE(parameters[i].spec.name);
    const bool updated = bucket_of(parameters[i].spec, 2) == 2;  // final norm and head
    CHECK((run.values(parameters[i]) == before[i]) != updated);
  }
  const TrainingState& state = run.t.state;
  CHECK(state.update == 2);
  CHECK(state.skipped_steps == 0);
  CHECK(state.skipped_in_a_row == 1);  // nothing is saved at an interval, and many in a row end the run
  CHECK(state.means.steps == 1);
  CHECK(format_metrics_line(metrics).find(R"("left_from_bucket":1)") != std::string::npos);

  // exact knows before anything is updated.
  ByHand exact(fused(unclipped("{}"), "exact"));
  exact.fill("model.layers.1.input_layernorm.weight", 0.0f);
  exact.fill("model.layers.1.self_attn.v_proj.weight", 3e38f);
  exact.fill("model.layers.1.self_attn.o_proj.weight", 1e10f);
  const auto whole = exact.state();
  CHECK(exact.step().skipped);
  CHECK((exact.state() == whole));
  CHECK(exact.t.state.update == 0);
}

TEST_CASE("fused backward: a loss that is not finite skips the whole step") {
  ByHand run(fused());
  run.step();
  const DeviceNumber poisoned(*run.session().backend,
                              run.session().arena->view(run.parameter("model.norm.weight").weight), 0);
  const float good = poisoned;
  poisoned = std::numeric_limits<float>::quiet_NaN();
  const auto whole = run.state();
  CHECK(run.step().skipped);
  CHECK((run.state() == whole));
  CHECK(run.t.state.update == 1);
  poisoned = good;
  CHECK_FALSE(run.step().skipped);
  CHECK(run.t.state.update == 2);
}

TEST_CASE("fused backward: gradients of the largest bucket at most exist at a time, and planned is allocated") {
  for (const bool tied : {false, true}) {
    CAPTURE(tied);
    const std::string model = fmt::format(R"({{"model": {{"vocab_size": 320, "tie_word_embeddings": {}}}}})", tied);
    const auto kept = Session::for_training(config(buffered(model)), 0);
    const auto run = Session::for_training(config(fused(model)), 0);
    std::vector<std::int64_t> buckets(4);
    std::int64_t all = 0;
    for (const Parameter& parameter : run->model->parameters()) {
      buckets[static_cast<std::size_t>(bucket_of(parameter.spec, 2))] += 4 * parameter.spec.shape.elements();
      all += 4 * parameter.spec.shape.elements();
    }
    // The gradient of a tied embedding begins with the head's and ends with the embedding's: a block's come beside it.
    const std::int64_t largest =
        tied ? buckets[3] + std::max(buckets[0], buckets[2]) : *std::ranges::max_element(buckets);
    CHECK(run->plan.most_at_once(Category::gradients) == largest);
    CHECK(run->plan.whole_run_bytes(Category::gradients) == 0);
    CHECK(kept->plan.whole_run_bytes(Category::gradients) == all);
    CHECK(kept->plan.most_at_once(Category::gradients) == all);
    CHECK(run->plan.arena_bytes() <= kept->plan.arena_bytes() - all + largest + 4096);
    run->allocate();
    CHECK(run->backend->allocated_bytes() == run->plan.arena_bytes());
  }
}

TEST_CASE(
    "fused backward: a run that is resumed at any checkpoint ends as one that was not, clipped and with statistics") {
  const std::string extra =
      R"({"optimizer": {"clip_grad_norm": 0.2, "states": {"m": "dynamic8", "v": "factored", "min_elements": 0}},
      "weights": {"block_linear": {"codec": "fp8_e4m3", "rounding": "stochastic", "error_feedback": "eco"}},
      "train": {"statistics_every": 4}})";
  const Scratch scratch("fused_resume");
  const std::string whole = scratch.path + "/whole";
  REQUIRE(train(config(fused(extra)), {.out = whole}) == ExitCode::ok);
  for (const std::int64_t from : {3, 6, 9}) {
    const std::string run = scratch.path + fmt::format("/from_{}", from);
    fs::copy(whole, run, fs::copy_options::recursive);
    for (std::int64_t step = from + 3; step <= 12; step += 3)
      fs::remove_all(run + "/checkpoints/" + checkpoint_name(step));
    RunConfig again = config(fused(extra));
    again.run.threads = 1;
    REQUIRE(train(again, {.out = run}) == ExitCode::ok);
    check_same_weights(run, whole, 12);
    CHECK(metrics(run) == metrics(whole));
  }
  // It is another run than the buffered one.
  check_refused(whole, buffered(extra), "train.fused_backward");
}

TEST_CASE("fused backward: on memory that the host cannot reach, and looked at one step late, it has the CPU's bits") {
  const Scratch scratch("fused_protected");
  for (const char* clip : {"last_norm", "exact"}) {
    const std::string extra = fused(R"({"optimizer": {"clip_grad_norm": 0.2}})", clip),
                      path = scratch.path + "/" + clip;
    REQUIRE(train(config(extra), {.out = path + "_cpu"}) == ExitCode::ok);
    ProtectedBackend::counts() = {};
    const BackendMaker before = std::exchange(backend_maker, ProtectedBackend::make);
    const ExitCode code = train(config(extra), {.out = path});
    backend_maker = before;
    REQUIRE(code == ExitCode::ok);
    CHECK(ProtectedBackend::counts().waits_inside == 0);
    CHECK(metrics(path) == metrics(path + "_cpu"));
    for (const std::int64_t step : {3, 12}) check_same_weights(path, path + "_cpu", step);
  }
}
