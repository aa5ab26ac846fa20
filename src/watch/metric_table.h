// The table of metrics. One row says all that bittern knows of a number that a run notes: its key, what it means, and
// where it is drawn. Made from the rows: the JSON line and its reading (metrics_line.cpp), the TensorBoard event
// (tensorboard.cpp), the curves and charts of the report (report_history.cpp, report_page.cpp), and
// docs/metrics_reference.md.
//
// To add a metric: a member of its struct in bittern/metrics.h, a row here, and the code that computes the number.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "bittern/metrics.h"

namespace bittern {

/// The chart of the report that shows a metric. A metric that has a chart is also a TensorBoard event.
struct Drawing {
  const char* chart = nullptr;  ///< the chart's title; nullptr: the metric is not drawn
  const char* label = "";       ///< of the curve, in the legend of a chart that has several
  bool large = false;           ///< the chart is large, and its values are shown with four decimals: losses
  bool smooth = false;          ///< the page smooths the curve
  bool dots = false;            ///< a dot at every point, for curves of few points
  int place = 0;                ///< charts of steps and evaluations stand in the order of this number
};

/// A row: one number of a line that is a `Line` (StepMetrics, EvalMetrics), or of one role of it (RoleMetrics).
template <class Line>
struct Metric {
  using Value = std::variant<std::int64_t Line::*, bool Line::*, double Line::*, std::optional<double> Line::*>;

  const char* name;     ///< the key of the JSON line, the tag of the event, the name of the curve
  Value value;          ///< the member that holds the number
  const char* meaning;  ///< for the docs: a phrase, with its unit
  Drawing drawing = {};
  bool timing = false;  ///< depends on the machine: equal runs differ in it
};

struct MetricTables {
  std::span<const Metric<StepMetrics>> step;        ///< in the order of the JSON line
  std::span<const Metric<EvalMetrics>> evaluation;  ///< the same
  std::span<const Metric<RoleMetrics>> role;        ///< the same, and of the charts
};

const MetricTables& metric_tables();

/// The metric's number in `line`; nothing where an optional one is missing.
template <class Line>
std::optional<double> number(const Metric<Line>& metric, const Line& line) {
  return std::visit(
      [&](auto member) -> std::optional<double> {
        if constexpr (std::is_same_v<decltype(member), std::optional<double> Line::*>)
          return line.*member;
        else
          return static_cast<double>(line.*member);
      },
      metric.value);
}

// What is made from the tables. Tests give them tables with another row.

std::string format_metrics_line(const MetricsLine& line, const MetricTables& tables);
std::optional<MetricsLine> parse_metrics_line(std::string_view text, const MetricTables& tables);
std::string metrics_reference(const MetricTables& tables);

}  // namespace bittern
