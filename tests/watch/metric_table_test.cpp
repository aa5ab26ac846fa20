// The table of metrics: everything that shows a metric follows from its row.
#include "watch/metric_table.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "bittern/file.h"
#include "bittern/report.h"
#include "catch.h"
#include "source_dir.h"
#include "temporary_folder.h"
#include "watch/report_history.h"
#include "watch/tensorboard.h"

using namespace bittern;
using nlohmann::json;

namespace {

// The program's tables, each with one metric more. The numbers are those of members that exist under other names.
struct WithMore {
  std::vector<Metric<StepMetrics>> step;
  std::vector<Metric<EvalMetrics>> evaluation;
  std::vector<Metric<RoleMetrics>> role;
  MetricTables tables;

  WithMore()
      : step(metric_tables().step.begin(), metric_tables().step.end()),
        evaluation(metric_tables().evaluation.begin(), metric_tables().evaluation.end()),
        role(metric_tables().role.begin(), metric_tables().role.end()) {
    step.push_back({.name = "update_norm",
                    .value = &StepMetrics::z_loss,
                    .meaning = "the norm of | the update",
                    .drawing = {.chart = "Norm of the update", .smooth = true, .place = 9}});
    evaluation.push_back({.name = "valid_accuracy",
                          .value = &EvalMetrics::evaluate_ms,
                          .meaning = "the part of the targets that were the likeliest",
                          .drawing = {.chart = "Norm of the update", .label = "accuracy", .dots = true, .place = 9}});
    role.push_back({.name = "dead",
                    .value = &RoleMetrics::saturated,
                    .meaning = "the part of the codes that are zero",
                    .drawing = {.chart = "Dead codes"}});
    tables = {.step = step, .evaluation = evaluation, .role = role};
  }
};

template <class Line>
void check_names(std::span<const Metric<Line>> table) {
  std::set<std::string> names;
  for (const Metric<Line>& metric : table) {
    INFO(metric.name);
    CHECK(names.insert(metric.name).second);
    CHECK(std::string(metric.meaning).size() > 10);
  }
}

}  // namespace

TEST_CASE(
    "metric table: one more row is in the line, read back, and in the event, the curves, the charts and the docs") {
  const WithMore more;
  StepMetrics step;
  step.step = 3;
  step.loss = 2.5;
  step.z_loss = 0.75;
  const std::string line = format_metrics_line(step, more.tables);
  CHECK(line.ends_with(R"("peak_rss":0,"update_norm":0.75})"));
  CHECK(json::parse(format_metrics_line(step)).contains("update_norm") == false);
  const auto read = parse_metrics_line(R"({"step":3,"loss":1,"update_norm":0.5})", more.tables);
  CHECK(std::get<StepMetrics>(read.value()).z_loss == 0.5);

  EvalMetrics evaluation{.step = 3, .valid_loss = 3, .evaluate_ms = 0.25};
  CHECK(format_metrics_line(evaluation, more.tables).ends_with(R"("seconds":0,"valid_accuracy":0.25})"));
  StatisticsMetrics statistics{.step = 3, .tokens = 0, .roles = {{}}};
  statistics.roles[0].role = "norm";
  statistics.roles[0].saturated = 0.125;
  CHECK(format_metrics_line(statistics, more.tables).ends_with(R"("saturated":0.125,"dead":0.125}}})"));

  const TemporaryFolder folder;
  {
    TensorboardWriter writer(folder.path, 0, more.tables);
    writer.step(step);
    writer.statistics(statistics);
    const std::string events = read_whole_file(writer.path(), 1 << 20, "events");
    CHECK(events.find(std::string("\x0a\x0bupdate_norm\x15\x00\x00\x40\x3f", 18)) != std::string::npos);  // 0.75f
    CHECK(events.find(std::string("\x0a\x09norm/dead\x15\x00\x00\x00\x3e", 16)) != std::string::npos);    // 0.125f
    CHECK(events.find("z_loss") == std::string::npos);  // is not drawn
  }

  RunHistory history("run", more.tables);
  for (const MetricsLine& of : {MetricsLine(step), MetricsLine(evaluation), MetricsLine(statistics)}) history.add(of);
  const json curves = json::parse(history.page_json()).at("curves");
  CHECK(curves.at("update_norm").at("y") == json{0.75});
  CHECK(curves.at("valid_accuracy").at("y") == json{0.25});
  CHECK(curves.at("norm.dead").at("y") == json{0.125});

  const std::string page = report_page({}, "t", false, more.tables);
  CHECK(page.find(R"({"title":"Norm of the update","large":false,"curves":[)"
                  R"({"key":"update_norm","label":"","smooth":true,"dots":false},)"
                  R"({"key":"valid_accuracy","label":"accuracy","smooth":false,"dots":true}]})") != std::string::npos);
  CHECK(page.find(R"({"title":"Dead codes","roles":"dead"}])") != std::string::npos);

  const std::string docs = metrics_reference(more.tables);
  CHECK(docs.find("| `update_norm` | the norm of \\| the update | Norm of the update | equal |\n") !=
        std::string::npos);
  CHECK(docs.find("| `dead` | the part of the codes that are zero | Dead codes | equal |\n") != std::string::npos);
}

TEST_CASE("metric table: every name stands once and has a meaning") {
  check_names(metric_tables().step);
  check_names(metric_tables().evaluation);
  check_names(metric_tables().role);
}

TEST_CASE("metric table: the page of the docs is the table's, and the guide to the report explains every chart") {
  const std::string docs = source_dir() + "/docs/";
  // Else: bittern report --reference > docs/metrics_reference.md
  CHECK(read_whole_file(docs + "metrics_reference.md", 1 << 20, "docs") == metrics_reference());
  const std::string guide = read_whole_file(docs + "reading_the_report.md", 1 << 20, "docs");
  const auto check_explained = [&](const auto& table) {
    for (const auto& metric : table)
      if (metric.drawing.chart != nullptr) {
        INFO(metric.drawing.chart);
        CHECK(guide.find("* **" + std::string(metric.drawing.chart) + "**") != std::string::npos);
      }
  };
  check_explained(metric_tables().step);
  check_explained(metric_tables().evaluation);
  check_explained(metric_tables().role);
}

TEST_CASE("metric table: the lines of metrics.jsonl keep their keys, their order and the way they write numbers") {
  StepMetrics step;
  step.step = 7;
  step.tokens = 14336;
  step.loss = 8.125;
  step.z_loss = 1e-5;
  step.lr = 3e-4;
  step.grad_norm = 2.5;
  step.clip_scale = 0.4;
  step.skipped_steps = 1;
  step.tokens_per_second = 1234.5;
  step.step_ms = 12.25;
  step.seconds = 0.1;
  step.peak_rss = 1 << 20;
  CHECK(
      format_metrics_line(step) ==
      R"({"step":7,"tokens":14336,"loss":8.125,"z_loss":1e-05,"lr":0.0003,"grad_norm":2.5,"clip_scale":0.4,)"
      R"("skipped":false,"skipped_steps":1,"tokens_per_second":1234.5,"step_ms":12.25,"seconds":0.1,"peak_rss":1048576})");
  CHECK(format_metrics_line(EvalMetrics{.step = 100,
                                        .tokens = 204800,
                                        .valid_loss = 5.25,
                                        .valid_tokens = 4096,
                                        .evaluate_ms = 33.5,
                                        .seconds = 9}) ==
        R"({"step":100,"tokens":204800,"valid_loss":5.25,"valid_tokens":4096,"evaluate_ms":33.5,"seconds":9})");
  CHECK(format_metrics_line(RunInfo{"mini", 5}) == R"({"step":0,"run":"mini","parameters":5})");
  CHECK(format_metrics_line(Sample{5, "a \"b\""}) == R"({"step":5,"sample":"a \"b\""})");
}
