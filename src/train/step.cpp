// A step reads as the story of docs/architecture.md: batch, forward and backward per micro-batch, reduce, norm, update.
// A stop takes effect between micro-batches: the partial accumulation is dropped.
#include "train/step.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/machine_memory.h"
#include "base/signals.h"
#include "bittern/schedule.h"
#include "train/statistics.h"

namespace bittern {

Batch::Batch(const Training& t, std::int64_t step) {
  const std::int64_t count = t.config.train.batch_sequences, T = t.config.data.sequence_length;
  std::vector<std::int64_t> samples(static_cast<std::size_t>(count));
  std::iota(samples.begin(), samples.end(), (step - 1) * count);
  tokens.resize(static_cast<std::size_t>(count * T));
  targets.resize(tokens.size());
  fill_batch(t.stream, t.sampler, samples, tokens.data(), targets.data());
  total_targets = std::count_if(targets.begin(), targets.end(), [](std::int32_t id) { return id >= 0; });
}

std::optional<StepMetrics> train_step(Training& t, const Batch& batch) {
  const double started = steady_seconds();
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
  metrics.step_ms = 1e3 * (steady_seconds() - started);
  metrics.tokens_per_second = static_cast<double>(batch.tokens.size()) / (steady_seconds() - started);
  metrics.peak_rss = peak_resident_bytes();
  return metrics;
}

}  // namespace bittern
