// Metrics: what a run says about itself, line by line.
//
//   RUN/metrics.jsonl   one JSON object a line, in the order of the steps. There are five kinds of lines, and the keys of
//                       a line tell its kind:
//     run         {"step":0,"run":"mini","parameters":5172992}                    the first line
//     step        {"step":7,"tokens":14336,"loss":8.1,"lr":0.0003,...}            one for each step
//     statistics  {"step":100,"tokens":204800,"statistics":{"mlp_linear":{"relative_error":0.027,...},...}}
//     evaluation  {"step":100,"tokens":204800,"valid_loss":5.2,...}
//     sample      {"step":100,"sample":"Once upon"}
//   A number that is not finite is null and has a flag beside it: {"loss":null,"loss_nonfinite":true}.
//   RUN/tensorboard/    the metrics that are drawn, as TensorBoard events.
//
// What every metric is called and where it is drawn stands in one table, src/watch/metric_table.cpp. To add a metric:
// a member of a struct below, and its row there.
//
// Each line is one write(2), so a kill between any two instructions leaves whole lines. A resume drops the lines of
// steps after the checkpoint that it starts from. So the file of an interrupted run equals the file of an undisturbed
// one, but for the metrics that the table calls timing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bittern {

struct RunInfo {
  std::string name;
  std::int64_t parameters = 0;
};

// What each number means, and in which unit, stands in its row of src/watch/metric_table.cpp.

/// One optimizer step. The first update is step 1.
struct StepMetrics {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  double loss = 0;
  std::optional<double> z_loss;
  double lr = 0;
  double grad_norm = 0;
  double clip_scale = 1;
  bool skipped = false;
  std::optional<double> left_from_bucket;
  std::int64_t skipped_steps = 0;
  double tokens_per_second = 0;
  double step_ms = 0;
  double seconds = 0;
  std::int64_t peak_rss = 0;
  std::optional<double> save_ms;
};

/// What a step did to the parameters of one role. A number that a role or a rule does not have is missing.
struct RoleMetrics {
  std::string role;
  std::optional<double> relative_error;
  std::optional<double> error_ratio;
  std::optional<double> error_cosine;
  std::optional<double> changed;
  std::optional<double> expected_changed;
  std::optional<double> saturated;
  std::optional<double> m_absmax;
  std::optional<double> v_max;
  std::optional<double> m_relative_error;
  std::optional<double> v_zeroed;
};

/// One step in train.statistics_every.
struct StatisticsMetrics {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  std::vector<RoleMetrics> roles;
};

struct EvalMetrics {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  double valid_loss = 0;
  std::int64_t valid_tokens = 0;
  double evaluate_ms = 0;
  double seconds = 0;
};

/// A text that the model wrote at a step.
struct Sample {
  std::int64_t step = 0;
  std::string text;
};

using MetricsLine = std::variant<RunInfo, StepMetrics, StatisticsMetrics, EvalMetrics, Sample>;

/// One line, without its newline. Text that is not UTF-8 has its bad bytes replaced.
std::string format_metrics_line(const MetricsLine& line);
/// The reverse; nothing if it is not such a line (torn, foreign). Unknown keys are passed over; null is NaN.
std::optional<MetricsLine> parse_metrics_line(std::string_view text);

/// docs/metrics_reference.md: every key of metrics.jsonl, what it means and where it is drawn. Made from the table.
std::string metrics_reference();

/// Writes RUN/metrics.jsonl and RUN/tensorboard. `resumed_step` is the step of the checkpoint that the run goes on
/// from, 0 for a new run: lines of later steps and a torn last line are removed before anything is appended.
class MetricsWriter {
 public:
  MetricsWriter(const std::string& run_directory, const RunInfo& info, std::int64_t resumed_step);
  ~MetricsWriter();
  void step(const StepMetrics& metrics);
  void statistics(const StatisticsMetrics& metrics);
  void evaluation(const EvalMetrics& metrics);
  void sample(const Sample& sample);
  /// Makes what was written durable: before a checkpoint claims the step, so that a resume never finds a gap.
  void sync();
  /// `seconds` of the last line kept by a resume: what StepMetrics::seconds goes on from.
  double resumed_seconds() const;
  /// The smallest validation loss of the lines kept; 0: there is none.
  double resumed_best_valid_loss() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bittern
