// RunHistory: all that the report knows of one run, in bounded memory, however long the run.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "watch/metric_table.h"
#include "watch/report_curve.h"

namespace bittern {

/// The numbers at the end of a run. NaN: there is none.
struct RunSummary {
  std::string name;
  std::string status;
  std::int64_t parameters = 0;
  std::int64_t steps = 0;
  std::int64_t total_steps = 0;  ///< of the config; 0: unknown
  std::int64_t tokens = 0;
  double loss;         ///< of the last step
  double loss_recent;  ///< mean over the last 100 logged steps
  double valid_loss;   ///< of the last evaluation
  double best_valid_loss;
  std::int64_t best_valid_step = 0;
  double tokens_per_second;  ///< mean over the last 100 logged steps
  double seconds = 0;
  std::int64_t skipped_steps = 0;
  std::int64_t peak_rss = 0;
  std::int64_t bad_lines = 0;  ///< of metrics.jsonl that could not be read
};

class RunHistory {
 public:
  /// `name` is what the run is called until its metrics say otherwise.
  explicit RunHistory(std::string name, const MetricTables& tables = metric_tables());

  void add(const RunInfo& info);
  void add(const StepMetrics& metrics);
  void add(const StatisticsMetrics& metrics);
  void add(const EvalMetrics& metrics);
  void add(const Sample& sample);
  void add(const MetricsLine& line);
  /// Reads a metrics.jsonl; what is no metrics line is counted and passed over.
  void load_metrics(const std::string& path);
  /// Takes the effective config as text. One that cannot be read leaves the report without it.
  void set_config(std::string_view text);
  /// Takes a run's fork.json as text. One that cannot be read leaves the report without it.
  void set_fork(std::string_view text);
  /// "forked from runs/a/checkpoints/step_00000100 at step 100; changed: schedule.lr: 0.01 -> 0.005"; empty: no fork.
  const std::string& fork() const { return fork_; }
  void set_status(std::string_view status) { status_ = status; }
  void set_name(std::string name) { name_ = std::move(name); }
  const std::string& name() const { return name_; }

  RunSummary summary() const;
  /// What the page draws: {"summary", "fork", "config", "curves": {"loss": {"x", "y"}, ...}, "samples", "skipped"}.
  std::string page_json() const;

 private:
  struct Recent {
    double loss, tokens_per_second;
  };

  /// A point of each curve of the line's table.
  template <class Line>
  void add_points(std::int64_t step, const std::string& prefix, std::span<const Metric<Line>> table, const Line& line);

  const MetricTables& tables_;
  std::string name_;
  std::string status_;
  std::int64_t parameters_ = 0;
  std::int64_t bad_lines_ = 0;
  bool any_step_ = false;
  StepMetrics last_;
  std::deque<Recent> recent_;
  bool any_evaluation_ = false;
  EvalMetrics last_evaluation_, best_evaluation_;
  std::deque<Sample> samples_;
  std::vector<std::int64_t> skipped_;  // the steps, the first 500 of them
  std::vector<std::pair<std::string, std::string>> config_;
  std::string fork_;
  std::int64_t total_steps_ = 0;
  std::map<std::string, Curve> curves_;  // of the metrics that are drawn: "loss", "mlp_linear.changed", ...
  Curve tokens_{500}, seconds_{500};     // what lies at a step, for the other two scales of the page
};

nlohmann::ordered_json summary_json(const RunSummary& summary);

/// JSON that can stand inside a <script> element: no character that could end it.
std::string script_safe(std::string json);
/// The page for runs given by their page_json.
std::string report_page(const std::vector<std::string>& runs, const std::string& title, bool live,
                        const MetricTables& tables = metric_tables());

}  // namespace bittern
