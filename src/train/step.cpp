// A step reads as the story of docs/architecture.md: batch, forward and backward per micro-batch, norm, update.
// A stop takes effect between micro-batches: the partial accumulation is dropped. The host gives a step to the back end
// and waits for nothing; it looks at the step's record when the step is done.
#include "train/step.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <string>
#include <utility>

#include "base/machine_memory.h"
#include "base/signals.h"
#include "bittern/noted_call.h"
#include "bittern/progress.h"
#include "bittern/schedule.h"
#include "bittern/step_record_tensors.h"
#include "train/session/gradient_buckets.h"
#include "train/statistics.h"

namespace bittern {
namespace {

std::string bucket_name(int bucket, std::int64_t blocks) {
  if (bucket < blocks) return fmt::format("block {}", bucket);
  return bucket == blocks ? "the final norm and the head" : "the embedding";
}

}  // namespace

Batch::Batch(const Session& session, std::int64_t step) {
  const RunConfig& config = session.config;
  const std::int64_t count = config.train.batch_sequences, T = config.data.sequence_length;
  std::vector<std::int64_t> samples(static_cast<std::size_t>(count));
  std::iota(samples.begin(), samples.end(), (step - 1) * count);
  tokens.resize(static_cast<std::size_t>(count * T));
  targets.resize(tokens.size());
  fill_batch(session.data->stream, session.data->sampler, samples, tokens.data(), targets.data());
  total_targets = std::count_if(targets.begin(), targets.end(), [](std::int32_t id) { return id >= 0; });
}

bool StepsAhead::enqueue(const Batch& batch) {
  const RunConfig& config = session_.config;
  const Arena& arena = *session_.arena;
  Optimizer& optimizer = *session_.optimizer;
  const std::int64_t step = next_step();
  Pending pending{.step = step,
                  .tokens = static_cast<std::int64_t>(batch.tokens.size()),
                  .targets = batch.total_targets,
                  .lr = learning_rate(config.schedule, config.train.steps, step),
                  .started = steady_seconds()};

  const Tensor record = optimizer.record(arena);
  session_.backend->begin_step({.record = record});
  const auto update = [&](std::span<const Parameter> parameters) {
    optimizer.step(arena, parameters, pending.lr, weight_decay(config, step), state_.update + 1, step,
                   statistics_due(config.train, step));
  };
  const bool fused = config.train.fused_backward, twice = fused && config.train.fused_clip == "exact";
  GradientBuckets buckets(*session_.model, optimizer, arena, session_.communicator.get());
  const std::size_t micro = static_cast<std::size_t>(config.micro_batch() * config.data.sequence_length);
  for (std::size_t first = 0; first < batch.tokens.size(); first += micro) {
    if (stop_requested()) return false;
    const bool last = first + micro == batch.tokens.size();
    if (last && fused && !twice)
      buckets.measure_and_update(update);
    else if (last)
      buckets.measure();
    session_.model->forward_backward({.tokens = std::span(batch.tokens).subspan(first, micro),
                                      .targets = std::span(batch.targets).subspan(first, micro),
                                      .total_targets = batch.total_targets},
                                     sums_of(record), first == 0);
  }
  if (!fused || twice) optimizer.decide(arena);
  if (!fused) update(std::as_const(*session_.model).parameters());
  if (twice) {  // now that the norm is known: the same gradients again, and each layer is updated by them
    buckets.update(update);
    session_.model->forward_backward(
        {.tokens = batch.tokens, .targets = batch.targets, .total_targets = batch.total_targets}, {}, true);
  }

  pending.copy = optimizer.record_copy(arena, step % (session_.backend->traits().steps_ahead + 1));
  session_.backend->copy_out(pending.copy, record.data, sizeof(StepRecord));
  pending.ticket = session_.backend->mark();
  waiting_.push_back(pending);
  return true;
}

StepMetrics StepsAhead::finish() {
  const Pending pending = waiting_.front();
  waiting_.pop_front();
  session_.backend->wait(pending.ticket);
  const StepRecord record = *pending.copy;
  if (record.fault != 0)
    throw StepFault(ExitCode::failure,
                    fmt::format("step {}: {} met an id outside the vocabulary in row {}; nothing was updated since",
                                pending.step, op_at(record.fault - 1), record.fault_at));
  const bool whole = record.skipped == Skipped::no, skipped = !whole && record.skipped != Skipped::rest;
  if (record.skipped == Skipped::rest)
    spdlog::warn(
        "step {}: the gradients of {} are not finite, or too large: it and what backward reaches after it were left as "
        "they were; what it had reached before was updated (train.fused_backward)",
        pending.step, bucket_name(static_cast<int>(record.left_from - 1), session_.config.model.num_hidden_layers));
  if (record.skipped == Skipped::far_from_mean)
    spdlog::warn(
        "step {} is skipped: its loss {:.4f} or its gradient norm {:.4g} is more than {} standard deviations "
        "(train.skip_deviations) above the running mean, {:.4f} and {:.4g}",
        pending.step, record.sums.loss / static_cast<double>(pending.targets), record.norm,
        session_.config.train.skip_deviations, record.means.loss, record.means.norm);
  state_.step = pending.step;
  state_.update = record.updates;
  state_.means = record.means;
  state_.tokens += pending.tokens;
  state_.skipped_steps += skipped;
  state_.skipped_in_a_row = whole ? 0 : state_.skipped_in_a_row + 1;

  const double now = steady_seconds(), seconds = now - std::max(pending.started, last_finish_);
  last_finish_ = now;
  const double targets = static_cast<double>(pending.targets), z_loss = session_.config.train.z_loss;
  StepMetrics metrics;
  metrics.step = pending.step;
  metrics.tokens = state_.tokens;
  metrics.loss = record.sums.loss / targets;
  if (z_loss > 0) metrics.z_loss = z_loss * record.sums.lse_squared / targets;
  metrics.lr = pending.lr;
  metrics.grad_norm = record.norm;
  metrics.clip_scale = record.clip;
  metrics.skipped = skipped;
  if (record.skipped == Skipped::rest) metrics.left_from_bucket = static_cast<double>(record.left_from - 1);
  metrics.skipped_steps = state_.skipped_steps;
  metrics.step_ms = 1e3 * seconds;
  metrics.tokens_per_second = static_cast<double>(pending.tokens) / seconds;
  metrics.peak_rss = peak_resident_bytes();
  return metrics;
}

std::optional<StepMetrics> train_step(Session& session, TrainingState& state, const Batch& batch) {
  StepsAhead steps(session, state);
  if (!steps.enqueue(batch)) return std::nullopt;
  return steps.finish();
}

}  // namespace bittern
