// The training loop: steps, and what is due between them (evaluation, samples, saves). After a stop the last finished
// step is what is saved.
#include <spdlog/spdlog.h>

#include "base/signals.h"
#include "train/infer/text_sampler.h"
#include "train/infer/validation.h"
#include "train/saves.h"
#include "train/session/profile_table.h"
#include "train/statistics.h"
#include "train/step.h"
#include "train/training.h"
#include "train/watchers.h"

namespace bittern {
namespace {

void check_skipped(const Training& t) {
  if (t.config.train.max_skipped_steps == 0 || t.state.skipped_in_a_row < t.config.train.max_skipped_steps) return;
  throw failure(
      "stopped at step {}: {} steps in a row had a loss or gradients that were not finite, and were skipped. The "
      "newest checkpoint is {}. Lower schedule.lr, lengthen the warm-up, set optimizer.clip_grad_norm, or look at the "
      "data",
      t.state.step, t.state.skipped_in_a_row,
      t.saved_step >= 0 ? t.folder->path() + "/checkpoints/" + checkpoint_name(t.saved_step) : "none");
}

/// False if a stop was asked for before it was finished: nothing is noted then.
bool evaluate_step(Training& t, Watchers& watchers) {
  watchers.progress.activity("evaluating");
  const double started = steady_seconds();
  const ValidationResult result = validation_loss(*t.run->model, *t.valid, t.config.train.evaluate_sequences, [&] {
    watchers.heartbeat.beat(t.state.step, RunStatus::training, "evaluating");
  });
  if (result.interrupted) return false;
  watchers.evaluation({.step = t.state.step,
                       .tokens = t.state.tokens,
                       .valid_loss = result.loss,
                       .valid_tokens = result.targets,
                       .evaluate_ms = 1e3 * (steady_seconds() - started),
                       .seconds = watchers.trained_seconds});
  return true;
}

bool sample_step(Training& t, Watchers& watchers) {
  std::string text = t.config.train.sample_prompt;
  generate_text(*t.run->model, *t.tokenizer, t.sample_prompt, t.config.train.sample_tokens,
                {.seed = static_cast<std::uint32_t>(t.config.run.seed)}, static_cast<std::uint32_t>(t.state.step),
                [&](const std::string& piece) {
                  text += piece;
                  return !stop_requested();
                });
  if (stop_requested()) return false;
  watchers.sample({.step = t.state.step, .text = text});
  return true;
}

/// What is due after a step beside training, less what is noted already. False: a stop left some of it owed.
bool look_at_model(Training& t, Watchers& watchers, const Noted& noted) {
  const auto due = [&](std::int64_t every) {
    return t.state.step > 0 && every > 0 && (t.state.step % every == 0 || t.finished());
  };
  if (t.valid && !noted.evaluation && due(t.config.train.evaluate_every) && !evaluate_step(t, watchers)) return false;
  return noted.sample || !due(t.config.train.sample_every) || sample_step(t, watchers);
}

/// The next step's batch. If the data cannot be read, what was learned so far is saved first.
Batch next_batch(Training& t, Watchers& watchers, BackgroundSaves& saves) {
  try {
    return Batch(t, t.state.step + 1);
  } catch (const Error&) {
    saves.settle(t, watchers, true);
    checkpoint_now(t, watchers);
    throw;
  }
}

ExitCode training_loop(Training& t, Watchers& watchers, const Noted& noted) {
  const std::int64_t checkpoint_every = t.config.train.checkpoint_every;
  BackgroundSaves saves(t);
  bool looked = look_at_model(t, watchers, noted);
  while (!t.finished() && !stop_requested()) {
    t.data_check->look();
    const Batch batch = next_batch(t, watchers, saves);
    std::optional<StepMetrics> step = train_step(t, batch);
    if (!step) break;
    watchers.trained_seconds += 1e-3 * step->step_ms;
    step->seconds = watchers.trained_seconds;
    watchers.step(*step);
    if (!step->skipped && statistics_due(t.config.train, step->step)) watchers.statistics(step_statistics(t));
    check_skipped(t);
    looked = look_at_model(t, watchers, {});
    saves.settle(t, watchers, false);
    if (checkpoint_every > 0 && t.state.step % checkpoint_every == 0 && !stop_requested()) saves.begin(t, watchers);
  }
  saves.settle(t, watchers, true);
  checkpoint_now(t, watchers);
  return t.finished() && looked ? ExitCode::ok : ExitCode::interrupted;
}

/// A step to warm up, then `steps` steps with every op's cost noted. Nothing is kept.
void profile_run(Training& t, std::int64_t steps) {
  const auto step = [&] { return train_step(t, Batch(t, t.state.step + 1)).has_value(); };
  if (!step()) return;
  Profile profile;
  const double started = steady_seconds();
  Profile::current() = &profile;
  std::int64_t done = 0;
  while (done < steps && step()) ++done;
  Profile::current() = nullptr;
  const double seconds = steady_seconds() - started;
  const MachineLimits limits = t.run->backend->measure_limits(t.config.precision.compute, true);
  if (done > 0) fmt::print("{}", profile_table(profile, seconds, done, limits));
}

}  // namespace

ExitCode train(const RunConfig& config, const TrainOptions& options) {
  Console console(2);
  setup_logging(console, "");
  struct StopLogging {
    ~StopLogging() { stop_logging(); }
  } stop_logging_at_end;
  const StopSignals signals;
  Training t = set_up_training(config, options, console);
  for (const std::string& key : config.ignored_keys) spdlog::info("ignored, it changes nothing here: {}", key);
  const std::string facts =
      fmt::format("{} parameters, {} of memory, {}", with_commas(Watchers::parameter_count(t)),
                  short_bytes(static_cast<double>(t.run->plan.arena_bytes())), t.identity.backend);
  if (options.profile_steps > 0) {
    spdlog::info("{}", facts);
    profile_run(t, options.profile_steps);
    return ExitCode::ok;
  }

  std::vector<const TokenStream*> streams{&t.stream};
  if (t.valid) streams.push_back(&*t.valid);
  t.data_check = std::make_unique<DataCheck>(streams);
  const Noted noted(t.folder->path(), t.state.step);
  spdlog::info("{}: {}", t.folder->path(), facts);
  Watchers watchers(t, console, t.run->backend->measure_limits(config.precision.compute, false).gemm_flops);
  try {
    const ExitCode code = training_loop(t, watchers, noted);
    watchers.end(t.state.step, code == ExitCode::ok ? RunStatus::finished : RunStatus::stopped);
    if (code == ExitCode::interrupted)
      spdlog::info("stopped after step {} of {}; the same command goes on from there", t.state.step,
                   t.config.train.steps);
    else
      spdlog::info("finished: {} steps, {} tokens; the report is {}/report.html", t.state.step,
                   with_commas(t.state.tokens), t.folder->path());
    return code;
  } catch (const std::exception& error) {
    watchers.end(t.state.step, RunStatus::failed, error.what());
    log_to_file(error.what());
    throw;
  }
}

}  // namespace bittern
