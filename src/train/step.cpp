// A step reads as the story of docs/architecture.md: batch, forward and backward per micro-batch, reduce, norm, update.
// A stop takes effect between micro-batches: the partial accumulation is dropped.
#include "train/step.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/machine_memory.h"
#include "base/signals.h"
#include "bittern/progress.h"
#include "bittern/schedule.h"
#include "train/statistics.h"

namespace bittern {

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

std::optional<StepMetrics> train_step(Session& session, TrainingState& state, const Batch& batch) {
  const double started = steady_seconds();
  const RunConfig& config = session.config;
  const std::int64_t step = state.step + 1;

  LossSums sums;
  const std::size_t micro = static_cast<std::size_t>(config.micro_batch() * config.data.sequence_length);
  for (std::size_t first = 0; first < batch.tokens.size(); first += micro) {
    if (stop_requested()) return std::nullopt;
    const LossSums part = session.model->forward_backward(std::span(batch.tokens).subspan(first, micro),
                                                          std::span(batch.targets).subspan(first, micro),
                                                          batch.total_targets, first == 0);
    sums.loss += part.loss;
    sums.lse_squared += part.lse_squared;
  }
  for (const Tensor& gradient : session.gradients) session.communicator->all_reduce_sum(gradient);
  const float norm = session.optimizer->global_norm(*session.arena, session.gradients);

  const double loss = sums.loss / static_cast<double>(batch.total_targets);
  const double lr = learning_rate(config.schedule, config.train.steps, step);
  const bool skipped = !std::isfinite(loss) || !std::isfinite(norm) || batch.total_targets == 0;
  if (!skipped)
    session.optimizer->step(*session.arena, session.model->parameters(), lr, weight_decay(config, step), ++state.update,
                            step, statistics_due(config.train, step));

  state.step = step;
  state.tokens += static_cast<std::int64_t>(batch.tokens.size());
  state.skipped_steps += skipped;
  state.skipped_in_a_row = skipped ? state.skipped_in_a_row + 1 : 0;

  StepMetrics metrics;
  metrics.step = step;
  metrics.tokens = state.tokens;
  metrics.loss = loss;
  if (config.train.z_loss > 0)
    metrics.z_loss = config.train.z_loss * sums.lse_squared / static_cast<double>(batch.total_targets);
  metrics.lr = lr;
  metrics.grad_norm = norm;
  metrics.clip_scale = session.optimizer->clip_scale(*session.arena);
  metrics.skipped = skipped;
  metrics.skipped_steps = state.skipped_steps;
  metrics.step_ms = 1e3 * (steady_seconds() - started);
  metrics.tokens_per_second = static_cast<double>(batch.tokens.size()) / (steady_seconds() - started);
  metrics.peak_rss = peak_resident_bytes();
  return metrics;
}

}  // namespace bittern
