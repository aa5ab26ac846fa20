// Metrics: what a run says about itself, line by line.
//
//   RUN/metrics.jsonl   one JSON object a line, in the order of the steps, of five kinds told apart by their keys:
//     run         {"step":0,"run":"mini","parameters":5172992}                    the first line
//     step        {"step":7,"tokens":14336,"loss":8.1,"lr":0.0003,...}            one per logged step
//     statistics  {"step":100,"tokens":204800,"statistics":{"mlp_linear":{"relative_error":0.027,...},...}}
//     evaluation  {"step":100,"tokens":204800,"valid_loss":5.2,...}
//     sample      {"step":100,"sample":"Once upon"}
//   A number that is not finite is null and has a flag beside it: {"loss":null,"loss_nonfinite":true}.
//   RUN/tensorboard/    the same numbers as events.
//
// Each line is one write(2), so a kill between any two instructions leaves whole lines. A resume drops what was logged
// after the checkpoint it starts from: an interrupted run's file equals an undisturbed one's, but for the timing fields
// (tokens_per_second, step_ms, seconds, peak_rss, evaluate_ms).
#pragma once

#include <array>
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

/// One optimizer step. The first update is step 1.
struct StepMetrics {
  std::int64_t step = 0;
  std::int64_t tokens = 0;  ///< trained on since the run began, this step included
  double loss = 0;          ///< mean cross entropy per target, in nats
  std::optional<double> z_loss;
  double lr = 0;
  double grad_norm = 0;            ///< before clipping
  double clip_scale = 1;           ///< what the gradients were multiplied by
  bool skipped = false;            ///< loss or gradients were not finite: the weights did not change
  std::int64_t skipped_steps = 0;  ///< so far, this one included
  double tokens_per_second = 0;
  double step_ms = 0;
  double seconds = 0;         ///< of training since the run began, over all its resumptions
  std::int64_t peak_rss = 0;  ///< bytes
};

/// What a step did to the parameters of one role; what a role or a rule has not is missing.
struct RoleMetrics {
  std::string role;
  std::optional<double> relative_error;    ///< |w - stored w| / |w| over all weights, w what the update made
  std::optional<double> error_ratio;       ///< |e| / |e before the step|, e = w - stored w; with a master
  std::optional<double> error_cosine;      ///< of the angle between the two
  std::optional<double> changed;           ///< the part of the codes that are not what they were
  std::optional<double> expected_changed;  ///< the part that was to be expected of integers rounded stochastically
  std::optional<double> saturated;         ///< the part of the codes that are at an end of their grid
  std::optional<double> m_absmax, v_max;   ///< of the moments, before they are stored
  std::optional<double> m_relative_error;  ///< |m - stored m| / |m| over all first moments, where some are not f32
  std::optional<double> v_zeroed;          ///< the part of the second moments that are above zero and stored as zero
};

struct RoleField {
  const char* name;
  std::optional<double> RoleMetrics::*value;
};
inline constexpr std::array<RoleField, 10> role_fields = {{{"relative_error", &RoleMetrics::relative_error},
                                                           {"error_ratio", &RoleMetrics::error_ratio},
                                                           {"error_cosine", &RoleMetrics::error_cosine},
                                                           {"changed", &RoleMetrics::changed},
                                                           {"expected_changed", &RoleMetrics::expected_changed},
                                                           {"saturated", &RoleMetrics::saturated},
                                                           {"m_absmax", &RoleMetrics::m_absmax},
                                                           {"v_max", &RoleMetrics::v_max},
                                                           {"m_relative_error", &RoleMetrics::m_relative_error},
                                                           {"v_zeroed", &RoleMetrics::v_zeroed}}};

/// One step in train.statistics_every.
struct StatisticsMetrics {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  std::vector<RoleMetrics> roles;
};

struct EvalMetrics {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  double valid_loss = 0;          ///< mean cross entropy per target, in nats
  std::int64_t valid_tokens = 0;  ///< how many targets it is the mean of
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
