// Reads the metrics of runs, and writes the report as a page or prints it as a table (`bittern report`).
#include "bittern/report.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "base/lines.h"
#include "base/printable.h"
#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/strict_json.h"
#include "watch/report_history.h"

namespace bittern {
namespace {

constexpr std::int64_t longest_config = std::int64_t{1} << 20;

// A file that makes the report richer but that it can do without.
std::string text_if_readable(const std::string& path) {
  try {
    std::error_code error;  // a path that cannot even be looked at is named by opening it
    if (!std::filesystem::exists(path, error) && !error) return "";
    return read_whole_file(path, longest_config, "a part of a run");
  } catch (const Error& error) {
    spdlog::warn("left out of the report: {}", error.what());
    return "";
  }
}

std::string status_in_heartbeat(const std::string& text) {
  nlohmann::json json;
  if (parse_json(text, json) || !json.is_object() || !json.contains("status") || !json["status"].is_string()) return "";
  return json["status"].get<std::string>();
}

RunHistory load_run(const std::string& run) {
  std::filesystem::path directory(run);
  std::string metrics = run;
  std::error_code ignored;
  if (std::filesystem::is_directory(directory, ignored)) {
    metrics = (directory / "metrics.jsonl").string();
    if (!std::filesystem::exists(metrics, ignored))
      throw input_error("{}: there is no metrics.jsonl in it; expected a run's folder, or a metrics.jsonl", run);
  } else {
    directory = directory.parent_path();
  }
  std::string name = std::filesystem::absolute(metrics, ignored).parent_path().filename().string();
  RunHistory history(std::move(name));
  history.load_metrics(metrics);
  history.set_config(text_if_readable((directory / "config.json").string()));
  history.set_fork(text_if_readable((directory / "fork.json").string()));
  history.set_status(status_in_heartbeat(text_if_readable((directory / "heartbeat.json").string())));
  return history;
}

std::size_t columns(const std::string& text) {
  const auto starts_character = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts_character));
}

// Rows of equally many cells; the first column is aligned to the left, numbers to the right.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.at(0).size(), 0);
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], columns(row[c]));
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - columns(row[c]), ' ');
      text += c == 0 ? row[c] + space : "  " + space + row[c];
    }
    text += '\n';
  }
  return text;
}

}  // namespace

struct Report::State {
  std::vector<RunHistory> runs;
};

Report::Report(const std::vector<std::string>& runs) : state_(std::make_unique<State>()) {
  if (runs.empty()) throw input_error("report: no run was given; expected one folder or more, for example runs/mini");
  std::map<std::string, int> names;
  for (const std::string& run : runs) {
    state_->runs.push_back(load_run(run));
    ++names[state_->runs.back().name()];
  }
  // Runs of one name are told apart by their folders.
  for (std::size_t i = 0; i < runs.size(); ++i) {
    RunHistory& history = state_->runs[i];
    if (names[history.name()] > 1) history.set_name(fmt::format("{} ({})", history.name(), runs[i]));
  }
}

Report::~Report() = default;

std::string Report::table() const {
  const auto number = [](double value, int digits) {
    return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : std::string("-");
  };
  std::vector<std::vector<std::string>> rows{
      {"run", "steps", "tokens", "last loss", "mean of 100", "best valid", "at step", "tok/s", "time", "skipped"}};
  std::string notes;
  for (const RunHistory& run : state_->runs) {
    const RunSummary s = run.summary();
    const bool validated = std::isfinite(s.best_valid_loss);
    rows.push_back({printable(s.name), with_commas(s.steps), short_number(static_cast<double>(s.tokens)),
                    number(s.loss, 4), number(s.loss_recent, 4), number(s.best_valid_loss, 4),
                    validated ? with_commas(s.best_valid_step) : "-",
                    std::isfinite(s.tokens_per_second) ? short_number(s.tokens_per_second) : "-",
                    short_duration(s.seconds), with_commas(s.skipped_steps)});
    if (!run.fork().empty()) notes += fmt::format("{}: {}\n", printable(s.name), printable(run.fork()));
    if (s.bad_lines > 0)
      notes += fmt::format("{}: {} line{} of metrics.jsonl could not be read and {} left out\n", printable(s.name),
                           with_commas(s.bad_lines), s.bad_lines == 1 ? "" : "s", s.bad_lines == 1 ? "was" : "were");
  }
  return aligned(rows) + notes;
}

std::string Report::json() const {
  auto array = nlohmann::ordered_json::array();
  for (const RunHistory& run : state_->runs) array.push_back(summary_json(run.summary()));
  return array.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

void Report::write(const std::string& out) const {
  std::vector<std::string> runs;
  for (const RunHistory& run : state_->runs) runs.push_back(run.page_json());
  const std::string title = runs.size() == 1 ? state_->runs[0].name() : fmt::format("{} runs", runs.size());
  write_file_atomically(out, report_page(runs, title, false));
}

struct LiveReport::State {
  std::string path;
  RunHistory history;
  double next_at = 0;  // seconds of the steady clock
  bool complained = false;

  void write(RunStatus status) {
    const double start = steady_seconds();
    const bool live = status == RunStatus::starting || status == RunStatus::training || status == RunStatus::saving;
    history.set_status(status_name(status));
    try {
      replace_file(path, report_page({history.page_json()}, history.name(), live));
    } catch (const Error& error) {
      if (!complained) spdlog::warn("no report: {}", error.what());
      complained = true;
    }
    const double end = steady_seconds();
    next_at = end + std::max(5.0, 100 * (end - start));
  }
};

LiveReport::LiveReport(const std::string& run_directory, const std::string& effective_config) {
  const std::string metrics = run_directory + "/metrics.jsonl";
  std::error_code error;  // a path that cannot even be looked at is named by opening it
  const std::string name = std::filesystem::absolute(metrics, error).parent_path().filename().string();
  state_ = std::make_unique<State>(State{run_directory + "/report.html", RunHistory(name)});
  state_->history.set_config(effective_config);
  state_->history.set_fork(text_if_readable(run_directory + "/fork.json"));
  if (std::filesystem::exists(metrics, error) || error) state_->history.load_metrics(metrics);
}

LiveReport::~LiveReport() = default;

void LiveReport::add(const MetricsLine& line) {
  state_->history.add(line);
}

void LiveReport::update(RunStatus status) {
  if (steady_seconds() >= state_->next_at) state_->write(status);
}

void LiveReport::finish(RunStatus status) {
  state_->write(status);
}

}  // namespace bittern
