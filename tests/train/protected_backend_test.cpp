// Whole runs on a back end whose memory the host cannot reach and whose steps are looked at one step late: the CPU's bits.
#include "train/protected_backend.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "bittern/device_memory.h"
#include "train/session/session.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;

namespace {

/// Every session made while it lives is on protected memory.
struct Protected {
  BackendMaker before = std::exchange(backend_maker, ProtectedBackend::make);
  Protected() = default;
  ~Protected() { backend_maker = before; }
  Protected(const Protected&) = delete;
  Protected& operator=(const Protected&) = delete;
};

/// Trains on protected memory; returns the run's message where it failed.
std::string train_protected(const RunConfig& with, const TrainOptions& options) {
  const Protected on;
  try {
    return train(with, options) == ExitCode::ok ? std::string() : "stopped";
  } catch (const Error& error) {
    return error.what();
  }
}

void check_same_runs(const std::string& ours, const std::string& theirs, std::initializer_list<std::int64_t> steps) {
  CHECK(metrics(ours) == metrics(theirs));
  for (const std::int64_t step : steps) {
    check_same_weights(ours, theirs, step);
    const std::string trainer = "/checkpoints/" + checkpoint_name(step) + "/trainer.json";
    CHECK(bytes_of(ours + trainer) == bytes_of(theirs + trainer));
  }
}

/// Codes of many kinds, statistics, validation and samples; a clip that is reached.
const char* const coded = R"({"weights": {"block_linear": {"codec": "fp8_e4m3", "scale_per": "row", "master": "none",
    "rounding": "stochastic", "error_feedback": "eco"}, "embedding": {"codec": "int", "bits": 5}},
    "optimizer": {"states": {"m": "dynamic8", "v": "factored"}, "clip_grad_norm": 0.5},
    "precision": {"activations": "fp8_e4m3_row"}, "train": {"statistics_every": 4, "z_loss": 1e-4}})";

}  // namespace

TEST_CASE("protected back end: what the host reads of the device's memory ends the process") {
  ProtectedBackend backend(1);
  const DeviceMemory memory(backend, 64);
  const auto* const address = static_cast<const volatile int*>(memory.data());
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    _exit(*address == 0 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGSEGV);
}

TEST_CASE("protected back end: training, evaluations, samples and checkpoints are the CPU's, and no step waits") {
  const Scratch scratch("protected");
  ProtectedBackend::counts() = {};
  REQUIRE(train_protected(config(), {.out = scratch.path + "/run"}).empty());
  check_same_runs(scratch.path + "/run", reference_run(), {3, 6, 9, 12});
  CHECK(ProtectedBackend::counts().steps == 12);
  CHECK(ProtectedBackend::counts().waits_inside == 0);
}

TEST_CASE("protected back end: codes, states in few bits and statistics are the CPU's") {
  const Scratch scratch("protected_codes");
  const RunConfig with = config(coded);
  REQUIRE(train(with, {.out = scratch.path + "/cpu"}) == ExitCode::ok);
  REQUIRE(train_protected(with, {.out = scratch.path + "/run"}).empty());
  check_same_runs(scratch.path + "/run", scratch.path + "/cpu", {3, 6, 9, 12});
}

TEST_CASE("protected back end: steps ahead of the host change nothing between the looks") {
  const Scratch scratch("protected_ahead");
  const RunConfig with = config(
      R"({"train": {"evaluate_every": 0, "sample_every": 0, "checkpoint_every": 0, "statistics_every": 0, "steps": 9}})");
  REQUIRE(train(with, {.out = scratch.path + "/cpu"}) == ExitCode::ok);
  REQUIRE(train_protected(with, {.out = scratch.path + "/run"}).empty());
  check_same_runs(scratch.path + "/run", scratch.path + "/cpu", {9});
}

TEST_CASE("protected back end: a run goes on from a checkpoint, of either back end, as if nothing had been") {
  const Scratch scratch("protected_resume");
  const std::string run = scratch.path + "/run";
  fs::copy(reference_run(), run, fs::copy_options::recursive);
  for (const std::int64_t step : {9, 12}) fs::remove_all(run + "/checkpoints/" + checkpoint_name(step));
  REQUIRE(train_protected(config(), {.out = run}).empty());
  check_same_runs(run, reference_run(), {9, 12});
}

TEST_CASE("protected back end: steps that are skipped are the CPU's, and so is the end of a run that diverges") {
  const Scratch scratch("protected_skips");
  const RunConfig with = config(
      R"({"schedule": {"lr": 100, "warmup_steps": 0, "shape": "constant"}, "optimizer": {"clip_grad_norm": 0, "weight_decay": 1},
          "train": {"max_skipped_steps": 3, "steps": 60, "sample_every": 0, "evaluate_every": 0, "checkpoint_every": 0}})");
  std::string message;
  try {
    train(with, {.out = scratch.path + "/cpu"});
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message.find("3 steps in a row") != std::string::npos);
  CHECK(train_protected(with, {.out = scratch.path + "/run"}).substr(0, 30) == message.substr(0, 30));
  CHECK(metrics(scratch.path + "/run") == metrics(scratch.path + "/cpu"));
}

TEST_CASE("protected back end: an op's fault is told by name, and what was learned before it is saved") {
  const Scratch scratch("protected_fault");
  const std::string run = scratch.path + "/run";
  ProtectedBackend::counts() = {};
  ProtectedBackend::fault_in() = 8;
  const std::string message = train_protected(config(), {.out = run});
  ProtectedBackend::fault_in() = 0;
  CHECK(message == "step 8: embedding_forward met an id outside the vocabulary in row 5; nothing was updated since");
  // Step 7 is what a run that stops there saves.
  REQUIRE(std::ranges::max(checkpoint_steps(run)) == 7);
  REQUIRE(train(config(), {.out = run}) == ExitCode::ok);
  for (const std::int64_t step : {9, 12}) check_same_weights(run, reference_run(), step);
}

TEST_CASE("protected back end: more steps ahead than an update has constants for are refused") {
  ProtectedBackend::ahead() = 2;
  const Protected on;
  CHECK_THROWS_WITH(Session::for_training(config(R"({"model": {"vocab_size": 320}})"), 0),
                    Catch::Contains("is given 3 steps before the host looks at the first of them; expected at most 2"));
  ProtectedBackend::ahead() = 1;
}

TEST_CASE("protected back end: evaluation, generation and export of a checkpoint in codes") {
  const Scratch scratch("protected_use");
  const std::string run = scratch.path + "/cpu";
  REQUIRE(train(config(coded), {.out = run}) == ExitCode::ok);
  export_checkpoint({.checkpoint = run, .out = scratch.path + "/a"});
  const Protected on;
  export_checkpoint({.checkpoint = run, .out = scratch.path + "/b"});
  CHECK(bytes_of(scratch.path + "/a/model.safetensors") == bytes_of(scratch.path + "/b/model.safetensors"));
  evaluate({.checkpoint = run, .data = corpus(), .max_sequences = 2});
  generate({.checkpoint = run, .prompt = "the heron", .tokens = 5});
}

TEST_CASE(
    "protected back end: without memory for a copy on the host, checkpoints are written in pieces, with equal bits") {
  const Scratch scratch("protected_pieces");
  const std::string run = scratch.path + "/run";
  const std::int64_t before = std::exchange(ProtectedBackend::most_host_bytes, 1000);
  const std::string failed = train_protected(config(), {.out = run});
  const std::string full = train_protected(config(R"({"train":{"snapshot":"full"}})"), {.out = scratch.path + "/full"});
  ProtectedBackend::most_host_bytes = before;
  CHECK(failed.empty());
  for (const std::int64_t step : {3, 6, 9, 12}) check_same_weights(run, reference_run(), step);
  CHECK_THAT(bytes_of(run + "/log.txt"), Catch::Contains("train.snapshot \"auto\""));
  CHECK_THAT(full, Catch::Contains("of the host's memory, for the copy that a checkpoint is written from") &&
                       Catch::Contains("set train.snapshot to \"pieces\""));
}
