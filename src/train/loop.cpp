// The training loop. A step reads as the story of docs/architecture.md: batch, forward and backward per micro-batch,
// reduce, norm, update. A stop takes effect between micro-batches: the partial accumulation is dropped, and the last
// finished step is what is saved.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "bittern/schedule.h"
#include "train/profile_table.h"
#include "train/saves.h"
#include "train/signals.h"
#include "train/statistics.h"
#include "train/text_sampler.h"
#include "train/training.h"
#include "train/validation.h"
#include "train/watchers.h"

namespace bittern {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The sequences of one step, read by their global sample index.
struct Batch {
  std::vector<std::int32_t> tokens, targets;
  std::int64_t total_targets = 0;

  Batch(const Training& t, std::int64_t step) {
    const std::int64_t count = t.config.train.batch_sequences, T = t.config.data.sequence_length;
    std::vector<std::int64_t> samples(static_cast<std::size_t>(count));
    std::iota(samples.begin(), samples.end(), (step - 1) * count);
    tokens.resize(static_cast<std::size_t>(count * T));
    targets.resize(tokens.size());
    fill_batch(t.stream, t.sampler, samples, tokens.data(), targets.data());
    total_targets = std::count_if(targets.begin(), targets.end(), [](std::int32_t id) { return id >= 0; });
  }
};

/// One step on its batch; nothing if a stop was asked for before it was finished.
std::optional<StepMetrics> train_step(Training& t, const Batch& batch) {
  const double started = now();
  const std::int64_t step = t.state.step + 1;
  Run& run = *t.run;

  LossSums sums;
  const std::size_t micro = static_cast<std::size_t>(t.config.micro_batch() * t.config.data.sequence_length);
  for (std::size_t first = 0; first < batch.tokens.size(); first += micro) {
    if (stop_requested()) return std::nullopt;
    const LossSums part =
        run.model->forward_backward(std::span(batch.tokens).subspan(first, micro),
                                    std::span(batch.targets).subspan(first, micro), batch.total_targets, first == 0);
    sums.loss += part.loss;
    sums.lse_squared += part.lse_squared;
  }
  for (const Tensor& gradient : t.gradients) t.communicator->all_reduce_sum(gradient);
  const float norm = run.optimizer->global_norm(*run.arena, t.gradients);

  const double loss = sums.loss / static_cast<double>(batch.total_targets);
  const double lr = learning_rate(t.config.schedule, t.config.train.steps, step);
  const bool skipped = !std::isfinite(loss) || !std::isfinite(norm) || batch.total_targets == 0;
  if (!skipped)
    run.optimizer->step(*run.arena, run.model->parameters(), lr, weight_decay(t.config, step), ++t.state.update, step,
                        statistics_due(t.config.train, step));

  t.state.step = step;
  t.state.tokens += static_cast<std::int64_t>(batch.tokens.size());
  t.state.skipped_steps += skipped;
  t.state.skipped_in_a_row = skipped ? t.state.skipped_in_a_row + 1 : 0;

  StepMetrics metrics;
  metrics.step = step;
  metrics.tokens = t.state.tokens;
  metrics.loss = loss;
  if (t.config.train.z_loss > 0)
    metrics.z_loss = t.config.train.z_loss * sums.lse_squared / static_cast<double>(batch.total_targets);
  metrics.lr = lr;
  metrics.grad_norm = norm;
  metrics.clip_scale = run.optimizer->clip_scale(*run.arena);
  metrics.skipped = skipped;
  metrics.skipped_steps = t.state.skipped_steps;
  metrics.step_ms = 1e3 * (now() - started);
  metrics.tokens_per_second = static_cast<double>(batch.tokens.size()) / (now() - started);
  metrics.peak_rss = peak_resident_bytes();
  return metrics;
}

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
  const double started = now();
  const ValidationResult result = validation_loss(*t.run->model, *t.valid, t.config.train.evaluate_sequences, [&] {
    watchers.heartbeat.beat(t.state.step, RunStatus::training, "evaluating");
  });
  if (result.interrupted) return false;
  watchers.evaluation({.step = t.state.step,
                       .tokens = t.state.tokens,
                       .valid_loss = result.loss,
                       .valid_tokens = result.targets,
                       .evaluate_ms = 1e3 * (now() - started),
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
  const double started = now();
  Profile::current() = &profile;
  std::int64_t done = 0;
  while (done < steps && step()) ++done;
  Profile::current() = nullptr;
  const double seconds = now() - started;
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
