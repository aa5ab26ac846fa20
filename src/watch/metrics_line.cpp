// The lines of metrics.jsonl, written and read by the table of metrics.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "bittern/error.h"
#include "bittern/strict_json.h"
#include "watch/metric_table.h"

namespace bittern {
namespace {

using nlohmann::json;

struct Write {
  std::string text = "{";

  void key(const char* name) {
    fmt::format_to(std::back_inserter(text), "{}\"{}\":", text.size() > 1 ? "," : "", name);
  }
  void operator()(const char* name, std::int64_t value) {
    key(name);
    fmt::format_to(std::back_inserter(text), "{}", value);
  }
  void operator()(const char* name, bool value) {
    key(name);
    text += value ? "true" : "false";
  }
  void operator()(const char* name, double value) {
    key(name);
    if (std::isfinite(value)) {
      fmt::format_to(std::back_inserter(text), "{}", value);  // the shortest text that reads back as the same double
    } else {
      fmt::format_to(std::back_inserter(text), "null,\"{}_nonfinite\":true", name);
    }
  }
  void operator()(const char* name, const std::optional<double>& value) {
    if (value) (*this)(name, *value);
  }
  void operator()(const char* name, const std::string& value) {
    key(name);
    text += json(value).dump(-1, ' ', false, json::error_handler_t::replace);
  }
};

// Takes what fits; a field of another type is as good as a missing one.
struct Read {
  const json& object;

  const json* find(const char* name) const {
    const auto it = object.find(name);
    return it == object.end() ? nullptr : &*it;
  }
  void operator()(const char* name, std::int64_t& value) const {
    const json* found = find(name);
    if (found == nullptr || !found->is_number_integer()) return;
    const bool too_large = found->is_number_unsigned() &&
                           found->get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()};
    if (!too_large) value = found->get<std::int64_t>();
  }
  void operator()(const char* name, bool& value) const {
    const json* found = find(name);
    if (found != nullptr && found->is_boolean()) value = found->get<bool>();
  }
  void operator()(const char* name, double& value) const {
    const json* found = find(name);
    if (found == nullptr) return;
    value = found->is_number() ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
  }
  void operator()(const char* name, std::optional<double>& value) const {
    if (find(name) != nullptr) (*this)(name, value.emplace());
  }
  void operator()(const char* name, std::string& value) const {
    const json* found = find(name);
    if (found != nullptr && found->is_string()) value = found->get<std::string>();
  }
};

template <class Line>
void write_table(Write& write, std::span<const Metric<Line>> table, const Line& line) {
  for (const Metric<Line>& metric : table)
    std::visit([&](auto member) { write(metric.name, line.*member); }, metric.value);
}

template <class Line>
void read_table(const Read& read, std::span<const Metric<Line>> table, Line& line) {
  for (const Metric<Line>& metric : table)
    std::visit([&](auto member) { read(metric.name, line.*member); }, metric.value);
}

void write_line(Write& write, const MetricTables&, const RunInfo& info) {
  write("step", std::int64_t{0});
  write("run", info.name);
  write("parameters", info.parameters);
}
void write_line(Write& write, const MetricTables& tables, const StepMetrics& metrics) {
  write_table(write, tables.step, metrics);
}
void write_line(Write& write, const MetricTables& tables, const StatisticsMetrics& metrics) {
  write("step", metrics.step);
  write("tokens", metrics.tokens);
  write.key("statistics");
  Write roles;
  for (const RoleMetrics& role : metrics.roles) {
    Write one;
    write_table(one, tables.role, role);
    roles.key(role.role.c_str());
    roles.text += one.text + "}";
  }
  write.text += roles.text + "}";
}
void write_line(Write& write, const MetricTables& tables, const EvalMetrics& metrics) {
  write_table(write, tables.evaluation, metrics);
}
void write_line(Write& write, const MetricTables&, const Sample& sample) {
  write("step", sample.step);
  write("sample", sample.text);
}

}  // namespace

std::string format_metrics_line(const MetricsLine& line) {
  return format_metrics_line(line, metric_tables());
}

std::optional<MetricsLine> parse_metrics_line(std::string_view text) {
  return parse_metrics_line(text, metric_tables());
}

std::string format_metrics_line(const MetricsLine& line, const MetricTables& tables) {
  Write write;
  std::visit([&](const auto& metrics) { write_line(write, tables, metrics); }, line);
  return std::move(write.text) + "}";
}

std::optional<MetricsLine> parse_metrics_line(std::string_view text, const MetricTables& tables) {
  json object;
  if (parse_json(text, object) || !object.is_object()) return std::nullopt;
  const Read read{object};
  std::int64_t step = -1;
  read("step", step);
  if (step < 0) return std::nullopt;
  if (object.contains("loss")) {
    StepMetrics metrics;
    read_table(read, tables.step, metrics);
    return metrics;
  }
  if (const auto roles = object.find("statistics"); roles != object.end() && roles->is_object()) {
    StatisticsMetrics metrics{.step = step, .tokens = 0, .roles = {}};
    read("tokens", metrics.tokens);
    for (const auto& [name, fields] : roles->items()) {
      if (!fields.is_object()) continue;
      RoleMetrics& role = metrics.roles.emplace_back();
      role.role = name;
      read_table(Read{fields}, tables.role, role);
    }
    return metrics;
  }
  if (object.contains("valid_loss")) {
    EvalMetrics metrics;
    read_table(read, tables.evaluation, metrics);
    return metrics;
  }
  if (object.contains("sample")) {
    Sample sample{step, {}};
    read("sample", sample.text);
    return sample;
  }
  if (object.contains("run")) {
    RunInfo info;
    read("run", info.name);
    read("parameters", info.parameters);
    return info;
  }
  return std::nullopt;
}

}  // namespace bittern
