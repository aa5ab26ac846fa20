// The training loop. A step reads as the story of docs/architecture.md: batch, forward and backward per micro-batch,
// reduce, norm, update. A stop takes effect between micro-batches: the partial accumulation is dropped, and the last
// finished step is what is saved.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "bittern/schedule.h"
#include "ops/cpu/machine_peak.h"
#include "train/profile_table.h"
#include "train/signals.h"
#include "train/text_sampler.h"
#include "train/training.h"
#include "train/validation.h"

namespace bittern {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Everything that watches a run. It is told what happens and changes nothing.
struct Watchers {
  MetricsWriter metrics;
  LiveReport report;
  TrainProgress progress;
  Heartbeat heartbeat;
  double trained_seconds;

  Watchers(const Training& t, Console& console, double peak_flops)
      : metrics(t.folder.path(), {.name = t.config.run.name, .parameters = parameter_count(t)}, t.state.step),
        report(t.folder.path(), config_json(t.config)),
        progress(console, {.total_steps = t.config.train.steps,
                           .first_step = t.state.step,
                           .flops_per_token = t.run->model->flops_per_token(),
                           .peak_flops = peak_flops}),
        heartbeat(t.folder.path()),
        trained_seconds(metrics.resumed_seconds()) {}

  static std::int64_t parameter_count(const Training& t) {
    const auto parameters = t.run->model->parameters();
    return std::accumulate(parameters.begin(), parameters.end(), std::int64_t{0},
                           [](std::int64_t sum, const Parameter& p) { return sum + p.spec.shape.elements(); });
  }
  void step(const StepMetrics& step) {
    metrics.step(step);
    report.add(step);
    progress.step(step);
    report.update(RunStatus::training);
    heartbeat.beat(step.step, RunStatus::training);
  }
  void evaluation(const EvalMetrics& evaluation) {
    metrics.evaluation(evaluation);
    report.add(evaluation);
    progress.evaluation(evaluation);
  }
  void sample(const Sample& sample) {
    metrics.sample(sample);
    report.add(sample);
    progress.sample(sample);
  }
  void end(std::int64_t step, RunStatus status) {
    progress.finish();
    report.finish(status);
    heartbeat.beat(step, status);
  }
};

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

/// One step; nothing if a stop was asked for before it was finished.
std::optional<StepMetrics> train_step(Training& t) {
  const double started = now();
  const std::int64_t step = t.state.step + 1;
  const Batch batch(t, step);
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
  if (!skipped) run.optimizer->step(*run.arena, run.model->parameters(), lr, ++t.state.update, step);

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
      "newest "
      "checkpoint is {}. Lower schedule.lr, lengthen the warm-up, set optimizer.clip_grad_norm, or look at the data",
      t.state.step, t.state.skipped_in_a_row,
      t.saved_step >= 0 ? t.folder.path() + "/checkpoints/" + checkpoint_name(t.saved_step) : "none");
}

/// False if a stop was asked for before it was finished: nothing is noted then.
bool evaluate_step(Training& t, Watchers& watchers) {
  watchers.progress.activity("evaluating");
  const double started = now();
  const ValidationResult result = validation_loss(*t.run->model, *t.valid, t.config.train.evaluate_sequences);
  if (result.interrupted) return false;
  watchers.evaluation({.step = t.state.step,
                       .tokens = t.state.tokens,
                       .valid_loss = result.loss,
                       .valid_tokens = result.targets,
                       .evaluate_ms = 1e3 * (now() - started),
                       .seconds = watchers.trained_seconds});
  return true;
}

void sample_step(Training& t, Watchers& watchers) {
  std::string text = t.config.train.sample_prompt;
  generate_text(*t.run->model, *t.tokenizer, t.sample_prompt, t.config.train.sample_tokens,
                {.seed = static_cast<std::uint32_t>(t.config.run.seed)}, static_cast<std::uint32_t>(t.state.step),
                [&](const std::string& piece) {
                  text += piece;
                  return true;
                });
  watchers.sample({.step = t.state.step, .text = text});
}

/// Hands a snapshot of the last finished step to the writer thread; training goes on while it writes.
void checkpoint_step(Training& t, Watchers& watchers, CheckpointWriter& writer) {
  watchers.progress.activity("saving");
  writer.wait();
  watchers.metrics.sync();
  t.run->take_snapshot();
  writer.submit(checkpoint_contents(t, true));
  t.saved_step = t.state.step;
}

/// Writes the last finished step straight from the weights, which nothing changes any more.
void checkpoint_at_end(Training& t, Watchers& watchers, CheckpointWriter& writer) {
  writer.wait();
  if (t.saved_step == t.state.step || t.state.step == 0) return;
  watchers.heartbeat.beat(t.state.step, RunStatus::saving);
  watchers.metrics.sync();
  write_checkpoint(t.folder.path(), checkpoint_contents(t, false));
  prune_checkpoints(t.folder.path(), t.config.train.keep_checkpoints, t.state.step);
  t.saved_step = t.state.step;
}

/// What is due after a step beside training. A stop in the middle leaves it owed: the resumed run begins with it.
void look_at_model(Training& t, Watchers& watchers) {
  const auto due = [&](std::int64_t every) { return every > 0 && (t.state.step % every == 0 || t.finished()); };
  t.state.look_owed = true;
  if (t.valid && due(t.config.train.evaluate_every) && !evaluate_step(t, watchers)) return;
  if (due(t.config.train.sample_every)) sample_step(t, watchers);
  t.state.look_owed = false;
}

ExitCode training_loop(Training& t, Watchers& watchers, CheckpointWriter& writer) {
  const std::int64_t checkpoint_every = t.config.train.checkpoint_every;
  if (t.state.look_owed) look_at_model(t, watchers);
  while (!t.finished() && !stop_requested()) {
    std::optional<StepMetrics> step = train_step(t);
    if (!step) break;
    watchers.trained_seconds += 1e-3 * step->step_ms;
    step->seconds = watchers.trained_seconds;
    watchers.step(*step);
    check_skipped(t);
    look_at_model(t, watchers);
    if (stop_requested()) break;
    if (checkpoint_every > 0 && t.state.step % checkpoint_every == 0) checkpoint_step(t, watchers, writer);
  }
  const bool complete = t.finished() && !t.state.look_owed;
  if (!complete || checkpoint_every > 0) checkpoint_at_end(t, watchers, writer);
  writer.wait();
  return complete ? ExitCode::ok : ExitCode::interrupted;
}

/// A step to warm up, then `steps` steps with every op's cost noted. Nothing is saved.
void profile_run(Training& t, std::int64_t steps) {
  if (!train_step(t)) return;
  Profile profile;
  const double started = now();
  Profile::current() = &profile;
  std::int64_t done = 0;
  while (done < steps && train_step(t)) ++done;
  Profile::current() = nullptr;
  if (done > 0) fmt::print("{}", profile_table(profile, now() - started, done, t.config.precision.compute));
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
  if (t.finished() && !t.state.look_owed) {
    spdlog::info("{} is finished: {} steps", t.folder.path(), t.state.step);
    return ExitCode::ok;
  }
  const double peak = 1e9 * cpu::measured_peak_gflops(config.precision.compute);
  spdlog::info("{}: {} parameters, {} of memory, {}", t.folder.path(), with_commas(Watchers::parameter_count(t)),
               short_bytes(static_cast<double>(t.run->plan.arena_bytes())), t.identity.backend);
  if (options.profile_steps > 0) {
    profile_run(t, options.profile_steps);
    return ExitCode::ok;
  }

  Watchers watchers(t, console, peak);
  CheckpointWriter writer(t.folder.path(), config.train.keep_checkpoints);
  try {
    const ExitCode code = training_loop(t, watchers, writer);
    watchers.end(t.state.step, code == ExitCode::ok ? RunStatus::finished : RunStatus::stopped);
    if (code == ExitCode::interrupted)
      spdlog::info("stopped after step {} of {}; the same command goes on from there", t.state.step,
                   t.config.train.steps);
    else
      spdlog::info("finished: {} steps, {} tokens; the report is {}/report.html", t.state.step,
                   with_commas(t.state.tokens), t.folder.path());
    return code;
  } catch (...) {
    watchers.end(t.state.step, RunStatus::failed);
    throw;
  }
}

}  // namespace bittern
