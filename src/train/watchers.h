// Watchers: everything that is told what a run does, and changes nothing: metrics, report, progress line, heartbeat.
#pragma once

#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "bittern/metrics.h"
#include "bittern/progress.h"
#include "bittern/report.h"
#include "train/session/session.h"

namespace bittern {

/// Everything that watches a run. It is told what happens and changes nothing.
struct Watchers {
  MetricsWriter metrics;
  LiveReport report;
  TrainProgress progress;
  Heartbeat heartbeat;
  double trained_seconds;

  /// `first_step`: the step that the run goes on from.
  Watchers(const Session& session, std::int64_t first_step, Console& console, double peak_flops)
      : metrics(session.folder->path(), {.name = session.config.run.name, .parameters = session.parameter_count()},
                first_step),
        report(session.folder->path(), config_json(session.config)),
        progress(console, {.total_steps = session.config.train.steps,
                           .first_step = first_step,
                           .best_valid_loss = metrics.resumed_best_valid_loss(),
                           .flops_per_token = session.model->flops_per_token(),
                           .peak_flops = peak_flops}),
        heartbeat(session.folder->path()),
        trained_seconds(metrics.resumed_seconds()) {}

  void step(const StepMetrics& step) {
    metrics.step(step);
    report.add(step);
    progress.step(step);
    report.update(RunStatus::training);
    heartbeat.beat(step.step, RunStatus::training);
  }
  void statistics(const StatisticsMetrics& statistics) {
    metrics.statistics(statistics);
    report.add(statistics);
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
  void end(std::int64_t step, RunStatus status, std::string_view message = {}) {
    progress.finish();
    report.finish(status);
    heartbeat.beat(step, status, message);
  }
};

/// What metrics.jsonl says of the step that a run goes on from. An evaluation or sample that was due there and that a
/// stop interrupted is owed: the resumed run begins with it.
struct Noted {
  bool evaluation = false, sample = false;

  Noted() = default;
  Noted(const std::string& run_folder, std::int64_t step) {
    std::ifstream file(run_folder + "/metrics.jsonl");
    for (std::string text; std::getline(file, text);) {
      const std::optional<MetricsLine> line = parse_metrics_line(text);
      if (!line) continue;
      if (const auto* noted = std::get_if<EvalMetrics>(&*line)) evaluation |= noted->step == step;
      if (const auto* noted = std::get_if<Sample>(&*line)) sample |= noted->step == step;
    }
  }
};

}  // namespace bittern
