// The training loop: steps, and what is due between them (evaluation, samples, saves). After a stop the last finished
// step is what is saved.
#include <spdlog/spdlog.h>

#include <exception>
#include <optional>

#include "base/signals.h"
#include "train/infer/text_sampler.h"
#include "train/infer/validation.h"
#include "train/saves.h"
#include "train/session/profile_table.h"
#include "train/session/set_up.h"
#include "train/statistics.h"
#include "train/step.h"
#include "train/watchers.h"

namespace bittern {
namespace {

/// What a step of the loop works with.
struct Loop {
  Session& session;
  TrainingState& state;
  Watchers& watchers;
  Saves& saves;
  DataCheck& data_check;
  StepsAhead& steps;

  const TrainSection& config() const { return session.config.train; }
  bool finished() const { return state.step >= config().steps; }
};

void check_skipped(const Loop& loop) {
  const TrainingState& state = loop.state;
  if (loop.config().max_skipped_steps == 0 || state.skipped_in_a_row < loop.config().max_skipped_steps) return;
  const std::string before = loop.saves.newest_proven();
  const std::string beyond_means =
      loop.config().skip_deviations > 0
          ? fmt::format(", or farther above their running means than train.skip_deviations ({}) allows",
                        loop.config().skip_deviations)
          : std::string();
  const std::string advice =
      before.empty()
          ? "No checkpoint is older than what went wrong: begin again in another folder, with a lower "
            "schedule.lr, a longer warm-up or a lower optimizer.clip_grad_norm, or look at the data"
          : fmt::format(
                "The newest checkpoint from which the run went on to learn is {}: begin a new run that goes on "
                "from it, `bittern train CONFIG --fork {} --out NEW`, with a lower schedule.lr or "
                "optimizer.clip_grad_norm, with another run.seed (which orders the data otherwise), or look at "
                "the data",
                before, before);
  throw failure(
      "stopped at step {}: {} steps in a row had a loss or gradients that were not finite{}, and were skipped. {}",
      state.step, state.skipped_in_a_row, beyond_means, advice);
}

/// False if a stop was asked for before it was finished: nothing is noted then.
bool evaluate_step(const Loop& loop) {
  Watchers& watchers = loop.watchers;
  watchers.progress.activity("evaluating");
  const double started = steady_seconds();
  const ValidationResult result =
      validation_loss(*loop.session.model, *loop.session.data->valid, loop.config().evaluate_sequences,
                      [&] { watchers.heartbeat.beat(loop.state.step, RunStatus::training, "evaluating"); });
  if (result.interrupted) return false;
  watchers.evaluation({.step = loop.state.step,
                       .tokens = loop.state.tokens,
                       .valid_loss = result.loss,
                       .valid_tokens = result.targets,
                       .evaluate_ms = 1e3 * (steady_seconds() - started),
                       .seconds = watchers.trained_seconds});
  return true;
}

bool sample_step(const Loop& loop) {
  const TrainingData& data = *loop.session.data;
  std::string text = loop.config().sample_prompt;
  generate_text(*loop.session.model, *data.tokenizer, data.sample_prompt, loop.config().sample_tokens,
                {.seed = static_cast<std::uint32_t>(loop.session.config.run.seed)},
                static_cast<std::uint32_t>(loop.state.step), [&](const std::string& piece) {
                  text += piece;
                  return !stop_requested();
                });
  if (stop_requested()) return false;
  loop.watchers.sample({.step = loop.state.step, .text = text});
  return true;
}

/// What is due after a step beside training, less what is noted already. False: a stop left some of it owed.
bool look_at_model(const Loop& loop, const Noted& noted) {
  const auto due = [&](std::int64_t every) {
    return loop.state.step > 0 && every > 0 && (loop.state.step % every == 0 || loop.finished());
  };
  if (loop.session.data->valid && !noted.evaluation && due(loop.config().evaluate_every) && !evaluate_step(loop))
    return false;
  return noted.sample || !due(loop.config().sample_every) || sample_step(loop);
}

/// The oldest step that is under way. If an op of it met a fault, what was learned before it is saved first.
StepMetrics finished_step(const Loop& loop) {
  try {
    return loop.steps.finish();
  } catch (const StepFault&) {
    loop.saves.now();
    throw;
  }
}

/// Looks at the oldest step that is under way.
void finish_step(const Loop& loop) {
  const auto& [session, state, watchers, saves, data_check, steps] = loop;
  StepMetrics step = finished_step(loop);
  watchers.trained_seconds += 1e-3 * step.step_ms;
  step.seconds = watchers.trained_seconds;
  step.save_ms = saves.take_pause();
  watchers.step(step);
  if (!step.skipped && !step.left_from_bucket && statistics_due(loop.config(), step.step))
    watchers.statistics(step_statistics(session, state));
  saves.after_step();
  check_skipped(loop);
}

void finish_steps(const Loop& loop, std::int64_t but_for) {
  while (loop.steps.waiting() > but_for) finish_step(loop);
}

/// What is known at the start of a step. All later code reads it here.
struct Decision {
  std::optional<Batch> batch;  ///< none: the data cannot be read, for this reason:
  std::exception_ptr unreadable{};
  bool looked_at = false;  ///< something looks at the state after the step: nothing may be ahead of it then
};

Decision decide(const Loop& loop) {
  const TrainSection& config = loop.config();
  const std::int64_t step = loop.steps.next_step();
  Decision decision;
  try {
    loop.data_check.look();
    decision.batch.emplace(loop.session, step);
  } catch (const Error&) {
    decision.unreadable = std::current_exception();
  }
  decision.looked_at = step == config.steps || statistics_due(config, step);
  for (const std::int64_t every : {config.evaluate_every, config.sample_every, config.checkpoint_every})
    decision.looked_at |= every > 0 && step % every == 0;
  return decision;
}

/// look_at_model, before which nothing may be ahead. If the validation data cannot be read, what was learned is saved
/// first.
bool look_or_save(const Loop& loop, const Noted& noted) {
  try {
    return look_at_model(loop, noted);
  } catch (const Error&) {
    loop.saves.now();
    throw;
  }
}

ExitCode training_loop(const Loop& loop, const Noted& noted) {
  const auto& [session, state, watchers, saves, data_check, steps] = loop;
  const std::int64_t checkpoint_every = loop.config().checkpoint_every, ahead = session.backend->traits().steps_ahead;
  bool looked = look_or_save(loop, noted);
  while (steps.next_step() <= loop.config().steps && !stop_requested()) {
    const Decision decision = decide(loop);
    if (!decision.batch) {  // what was learned so far is saved first, unless it may be wrong: then `now` says so
      finish_steps(loop, 0);
      saves.now();
      std::rethrow_exception(decision.unreadable);
    }
    if (!steps.enqueue(*decision.batch)) break;
    finish_steps(loop, decision.looked_at ? 0 : ahead);
    if (saves.owed()) {
      finish_steps(loop, 0);
      saves.now();
    }
    if (decision.looked_at) looked = look_or_save(loop, {});
    if (checkpoint_every > 0 && steps.waiting() == 0 && state.step % checkpoint_every == 0 && !stop_requested())
      saves.begin();
  }
  finish_steps(loop, 0);
  saves.now();
  return loop.finished() && looked ? ExitCode::ok : ExitCode::interrupted;
}

/// A step to warm up, then `steps` steps with every op's cost noted. Nothing is kept.
void profile_run(Session& session, TrainingState& state, std::int64_t steps) {
  const auto step = [&] { return train_step(session, state, Batch(session, state.step + 1)).has_value(); };
  if (!step()) return;
  Profile profile;
  const double started = steady_seconds();
  Profile::current() = &profile;
  std::int64_t done = 0;
  while (done < steps && step()) ++done;
  Profile::current() = nullptr;
  const double seconds = steady_seconds() - started;
  const MachineLimits limits = session.backend->measure_limits(session.config.precision.compute, true);
  if (done > 0) fmt::print("{}", profile_table(profile, seconds, done, limits));
}

}  // namespace

ExitCode train(RunConfig config, const TrainOptions& options) {
  Console console(2);
  setup_logging(console, "");
  struct StopLogging {
    ~StopLogging() { stop_logging(); }
  } stop_logging_at_end;
  const StopSignals signals;
  Training training = set_up_training(std::move(config), options, console);
  Session& session = *training.session;
  TrainingState& state = training.state;
  for (const std::string& key : session.config.ignored_keys) spdlog::info("ignored, it changes nothing here: {}", key);
  const std::string facts =
      fmt::format("{} parameters, {} of memory, {}", with_commas(session.parameter_count()),
                  short_bytes(static_cast<double>(session.plan.arena_bytes())), session.identity.backend);
  if (options.profile_steps > 0) {
    spdlog::info("{}", facts);
    profile_run(session, state, options.profile_steps);
    return ExitCode::ok;
  }

  std::vector<const TokenStream*> streams{&session.data->stream};
  if (session.data->valid) streams.push_back(&*session.data->valid);
  std::optional<Watchers> watchers;
  try {
    DataCheck data_check(streams);
    const Noted noted(session.folder->path(), state.step);
    spdlog::info("{}: {}", session.folder->path(), facts);
    const double peak_flops = session.backend->measure_limits(session.config.precision.compute, false).gemm_flops;
    watchers.emplace(session, state.step, console, peak_flops);
    warn_where_checkpoints_do_not_fit(session, state);
    Saves saves(session, state, *watchers, data_check);
    StepsAhead steps(session, state);
    const ExitCode code = training_loop({session, state, *watchers, saves, data_check, steps}, noted);
    watchers->end(state.step, code == ExitCode::ok ? RunStatus::finished : RunStatus::stopped);
    if (code == ExitCode::interrupted)
      spdlog::info("stopped by {} after step {} of {}; the same command goes on from there", stop_signal(), state.step,
                   session.config.train.steps);
    else
      spdlog::info("finished: {} steps, {} tokens; the report is {}/report.html", state.step, with_commas(state.tokens),
                   session.folder->path());
    return code;
  } catch (const std::exception& error) {
    if (watchers) watchers->end(state.step, RunStatus::failed, error.what());
    say_failed(session, state.step, error.what());
    throw;
  }
}

}  // namespace bittern
