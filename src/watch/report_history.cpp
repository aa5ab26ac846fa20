// Collects what the report shows of a run from its metrics, and writes it as JSON for the page.
#include "watch/report_history.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/lines.h"
#include "base/printable.h"
#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/role.h"
#include "bittern/strict_json.h"

namespace bittern {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t recent_steps = 100;
constexpr std::size_t most_samples = 40;
constexpr std::size_t longest_sample = 4096;
constexpr std::size_t most_skipped = 500;
constexpr std::size_t most_config_entries = 400;
constexpr std::size_t most_config_values = 4000;
constexpr std::size_t longest_config_value = 200;
constexpr std::int64_t points_of_a_role = 500;  // of each of many curves

// Every value of a config with its dotted path. Lists stay whole: they are short ("betas").
void flatten(const ordered_json& value, const std::string& path,
             std::vector<std::pair<std::string, std::string>>& out) {
  if (value.is_object()) {
    for (const auto& [key, child] : value.items()) flatten(child, path.empty() ? key : path + "." + key, out);
    return;
  }
  if (out.size() >= most_config_entries) return;
  std::string text =
      value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  out.emplace_back(path, printable(text, longest_config_value));
}

// Six digits are more than a screen shows; steps and token counts are whole and stay exact.
void append_number(std::string& out, double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) {
    fmt::format_to(std::back_inserter(out), "{}", static_cast<std::int64_t>(value));
  } else {
    fmt::format_to(std::back_inserter(out), "{:.6g}", value);
  }
}

void append_points(std::string& out, const char* x_name, const char* y_name, const std::vector<CurvePoint>& points) {
  for (const auto& [name, member] : {std::pair{x_name, &CurvePoint::x}, std::pair{y_name, &CurvePoint::y}}) {
    fmt::format_to(std::back_inserter(out), "{}\"{}\":[", out.back() == '{' ? "" : ",", name);
    for (const CurvePoint& point : points) {
      if (out.back() != '[') out += ',';
      append_number(out, point.*member);
    }
    out += ']';
  }
}

std::string curve_json(const Curve& curve) {
  std::string out = "{";
  append_points(out, "x", "y", curve.points());
  if (!curve.exact()) append_points(out, "mean_x", "mean_y", curve.means());
  return out + "}";
}

}  // namespace

// The curves of steps and evaluations are there from the start: the page's scales follow from them, empty or not.
RunHistory::RunHistory(std::string name, const MetricTables& tables) : tables_(tables), name_(std::move(name)) {
  const auto begin = [this](const auto& table) {
    for (const auto& metric : table)
      if (metric.drawing.chart != nullptr) curves_.try_emplace(metric.name);
  };
  begin(tables.step);
  begin(tables.evaluation);
}

template <class Line>
void RunHistory::add_points(std::int64_t step, const std::string& prefix, std::span<const Metric<Line>> table,
                            const Line& line) {
  for (const Metric<Line>& metric : table)
    if (metric.drawing.chart != nullptr)
      if (const std::optional<double> value = number(metric, line))
        curves_.try_emplace(prefix + metric.name, points_of_a_role)
            .first->second.add(static_cast<double>(step), *value);
}

void RunHistory::add(const MetricsLine& line) {
  std::visit([this](const auto& metrics) { add(metrics); }, line);
}

void RunHistory::add(const RunInfo& info) {
  if (!info.name.empty()) name_ = info.name;
  parameters_ = info.parameters;
}

void RunHistory::add(const StepMetrics& m) {
  any_step_ = true;
  last_ = m;
  recent_.push_back({m.loss, m.tokens_per_second});
  if (recent_.size() > recent_steps) recent_.pop_front();
  if (m.skipped && skipped_.size() < most_skipped) skipped_.push_back(m.step);
  add_points(m.step, "", tables_.step, m);
  const double x = static_cast<double>(m.step);
  tokens_.add(x, static_cast<double>(m.tokens));
  seconds_.add(x, m.seconds);
}

// Only roles that a model can have: a file of any other names must not fill the memory.
void RunHistory::add(const StatisticsMetrics& m) {
  for (const RoleMetrics& role : m.roles)
    if (find_role(role.role)) add_points(m.step, role.role + ".", tables_.role, role);
}

void RunHistory::add(const EvalMetrics& m) {
  const bool best = !any_evaluation_ || !(best_evaluation_.valid_loss <= m.valid_loss);
  if (best && std::isfinite(m.valid_loss)) best_evaluation_ = m;
  any_evaluation_ = any_evaluation_ || std::isfinite(m.valid_loss);
  last_evaluation_ = m;
  add_points(m.step, "", tables_.evaluation, m);
}

// When there are too many, every other of the older ones goes: the early ones show how the model began.
void RunHistory::add(const Sample& sample) {
  samples_.push_back({sample.step, sample.text.substr(0, longest_sample)});
  if (samples_.size() <= most_samples) return;
  std::deque<Sample> kept;
  for (std::size_t i = 0; i < samples_.size(); ++i)
    if (i % 2 == 0 || i + 1 == samples_.size()) kept.push_back(std::move(samples_[i]));
  samples_ = std::move(kept);
}

void RunHistory::load_metrics(const std::string& path) {
  for_each_line(File::open(path), [this](const FileLine& line) {
    if (line.text.empty()) return;
    if (const std::optional<MetricsLine> parsed = parse_metrics_line(line.text)) {
      add(*parsed);
    } else {
      ++bad_lines_;
    }
  });
}

void RunHistory::set_config(std::string_view text) {
  config_.clear();
  total_steps_ = 0;
  ordered_json config;
  if (parse_json(text, config, {.values = most_config_values}) || !config.is_object()) return;
  flatten(config, "", config_);
  const auto train = config.find("train");
  if (train == config.end() || !train->is_object()) return;
  const auto steps = train->find("steps");
  if (steps != train->end() && steps->is_number_integer()) total_steps_ = steps->get<std::int64_t>();
}

void RunHistory::set_fork(std::string_view text) {
  fork_.clear();
  ordered_json fork;
  if (parse_json(text, fork) || !fork.is_object()) return;
  const ordered_json checkpoint = fork.value("checkpoint", ordered_json()), step = fork.value("step", ordered_json()),
                     changed = fork.value("changed", ordered_json());
  if (!checkpoint.is_string() || !step.is_number_integer() || !changed.is_array()) return;
  std::string list;
  for (const ordered_json& line : changed)
    if (line.is_string()) list += (list.empty() ? "" : ", ") + line.get<std::string>();
  fork_ = fmt::format("forked from {} at step {}; changed: {}", checkpoint.get<std::string>(), step.get<std::int64_t>(),
                      list.empty() ? "nothing" : list);
}

RunSummary RunHistory::summary() const {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  double losses = 0, speeds = 0;
  int finite = 0;
  for (const Recent& recent : recent_) {
    speeds += recent.tokens_per_second;
    if (!std::isfinite(recent.loss)) continue;
    losses += recent.loss;
    ++finite;
  }
  return {.name = name_,
          .status = status_,
          .parameters = parameters_,
          .steps = last_.step,
          .total_steps = total_steps_,
          .tokens = last_.tokens,
          .loss = any_step_ ? last_.loss : none,
          .loss_recent = finite > 0 ? losses / finite : none,
          .valid_loss = any_evaluation_ ? last_evaluation_.valid_loss : none,
          .best_valid_loss = any_evaluation_ ? best_evaluation_.valid_loss : none,
          .best_valid_step = best_evaluation_.step,
          .tokens_per_second = recent_.empty() ? none : speeds / static_cast<double>(recent_.size()),
          .seconds = last_.seconds,
          .skipped_steps = last_.skipped_steps,
          .peak_rss = last_.peak_rss,
          .bad_lines = bad_lines_};
}

ordered_json summary_json(const RunSummary& s) {
  ordered_json json;
  json["name"] = s.name;
  json["status"] = s.status;
  json["parameters"] = s.parameters;
  json["steps"] = s.steps;
  json["total_steps"] = s.total_steps;
  json["tokens"] = s.tokens;
  const auto number = [&](const char* key, double value) {
    json[key] = std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
  };
  number("loss", s.loss);
  number("loss_recent", s.loss_recent);
  number("valid_loss", s.valid_loss);
  number("best_valid_loss", s.best_valid_loss);
  json["best_valid_step"] = s.best_valid_step;
  number("tokens_per_second", s.tokens_per_second);
  number("seconds", s.seconds);
  json["skipped_steps"] = s.skipped_steps;
  json["peak_rss"] = s.peak_rss;
  json["bad_lines"] = s.bad_lines;
  return json;
}

std::string RunHistory::page_json() const {
  ordered_json json;
  json["summary"] = summary_json(summary());
  json["fork"] = fork_;
  json["config"] = config_;
  json["skipped"] = skipped_;
  json["samples"] = ordered_json::array();
  for (const Sample& sample : samples_) json["samples"].push_back({{"step", sample.step}, {"text", sample.text}});
  // Text may be cut inside a character or not be UTF-8 at all.
  std::string out = json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  out.back() = ',';
  out += "\"curves\":{";
  for (const auto& [name, curve] : curves_) out += fmt::format("\"{}\":", name) + curve_json(curve) + ",";
  out += "\"tokens\":" + curve_json(tokens_) + ",\"seconds\":" + curve_json(seconds_);
  return out + "}}";
}

}  // namespace bittern
