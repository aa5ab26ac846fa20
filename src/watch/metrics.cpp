// Writes the lines of metrics.jsonl, and cuts off those after the step that a resumed run goes on from.
#include "bittern/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "base/lines.h"
#include "bittern/error.h"
#include "watch/tensorboard.h"

namespace bittern {
namespace {

// The step that a line is about, -1 if it says none. bittern's own lines start with it, so most need no parser.
std::int64_t step_of(std::string_view line) {
  constexpr std::string_view prefix = "{\"step\":";
  std::int64_t step = -1;
  if (line.starts_with(prefix)) {
    std::from_chars(line.data() + prefix.size(), line.data() + line.size(), step);
    return step;
  }
  const std::optional<MetricsLine> parsed = parse_metrics_line(line);
  if (!parsed) return -1;
  return std::visit(
      [](const auto& metrics) -> std::int64_t {
        if constexpr (requires { metrics.step; }) {
          return metrics.step;
        } else {
          return 0;
        }
      },
      *parsed);
}

double seconds_of(std::string_view line) {
  const std::optional<MetricsLine> parsed = parse_metrics_line(line);
  if (!parsed) return 0;
  if (const auto* step = std::get_if<StepMetrics>(&*parsed)) return step->seconds;
  if (const auto* evaluation = std::get_if<EvalMetrics>(&*parsed)) return evaluation->seconds;
  return 0;
}

// Of an evaluation's line; 0 of any other, and of one that is not finite.
double valid_loss_of(std::string_view line) {
  if (line.find("\"valid_loss\":") == std::string_view::npos) return 0;
  const std::optional<MetricsLine> parsed = parse_metrics_line(line);
  const auto* evaluation = parsed ? std::get_if<EvalMetrics>(&*parsed) : nullptr;
  return evaluation && std::isfinite(evaluation->valid_loss) ? evaluation->valid_loss : 0;
}

struct Trimmed {
  bool empty = true;
  double seconds = 0;
  double best_valid_loss = 0;
};

// Removes the lines of later steps and a torn last line. The lines are in order in every file that bittern made, so
// cutting the end off is enough, and that is one atomic call; a file put together by hand is rewritten.
Trimmed trim_metrics(const std::string& path, std::int64_t resumed_step) {
  Trimmed result;
  std::error_code error;  // a path that cannot even be looked at is named by opening it
  if (!std::filesystem::exists(path, error) && !error) return result;
  const File file = File::open(path);
  std::int64_t cut = -1;   // where the first line to drop begins
  std::string kept_after;  // what is to be kept beyond it
  bool newline_missing = false;
  std::string last_timed;
  for_each_line(file, [&](const FileLine& line) {
    const bool torn = !line.complete && !parse_metrics_line(line.text);
    if (torn || step_of(line.text) > resumed_step) {
      if (cut < 0) cut = line.offset;
      return;
    }
    result.empty = false;
    newline_missing = !line.complete;
    if (line.text.find("\"seconds\":") != std::string_view::npos) last_timed = line.text;
    if (const double loss = valid_loss_of(line.text); loss > 0)
      result.best_valid_loss = result.best_valid_loss > 0 ? std::min(result.best_valid_loss, loss) : loss;
    if (cut >= 0) kept_after.append(line.text).append("\n");
  });
  result.seconds = seconds_of(last_timed);
  if (!kept_after.empty()) {
    std::string kept(static_cast<std::size_t>(cut), '\0');
    file.read(0, std::as_writable_bytes(std::span(kept)));
    write_file_atomically(path, kept + kept_after);
  } else if (cut >= 0) {
    AppendFile(path).truncate(cut);
  } else if (newline_missing) {
    AppendFile(path).append("\n");
  }
  return result;
}

}  // namespace

struct MetricsWriter::State {
  Trimmed trimmed;
  AppendFile lines;
  TensorboardWriter tensorboard;

  State(const std::string& path, const std::string& tensorboard_directory, std::int64_t resumed_step)
      : trimmed(trim_metrics(path, resumed_step)), lines(path), tensorboard(tensorboard_directory, resumed_step) {}
};

MetricsWriter::MetricsWriter(const std::string& run_directory, const RunInfo& info, std::int64_t resumed_step) {
  make_directories(run_directory);
  state_ = std::make_unique<State>(run_directory + "/metrics.jsonl", run_directory + "/tensorboard", resumed_step);
  if (state_->trimmed.empty) state_->lines.append(format_metrics_line(info) + "\n");
}

MetricsWriter::~MetricsWriter() = default;

void MetricsWriter::step(const StepMetrics& metrics) {
  state_->lines.append(format_metrics_line(metrics) + "\n");
  state_->tensorboard.step(metrics);
}

void MetricsWriter::statistics(const StatisticsMetrics& metrics) {
  state_->lines.append(format_metrics_line(metrics) + "\n");
  state_->tensorboard.statistics(metrics);
}

void MetricsWriter::evaluation(const EvalMetrics& metrics) {
  state_->lines.append(format_metrics_line(metrics) + "\n");
  state_->tensorboard.evaluation(metrics);
}

void MetricsWriter::sample(const Sample& sample) {
  state_->lines.append(format_metrics_line(sample) + "\n");
}

void MetricsWriter::sync() {
  state_->lines.sync();
  state_->tensorboard.sync();
}

double MetricsWriter::resumed_seconds() const {
  return state_->trimmed.seconds;
}

double MetricsWriter::resumed_best_valid_loss() const {
  return state_->trimmed.best_valid_loss;
}

}  // namespace bittern
