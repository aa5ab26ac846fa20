// The page: one HTML text without any outside resource. The runs are data in a <script type="application/json">; the
// script beside it (page_chart.js, page.js) draws them. A content security policy forbids the browser to load or send anything, should a text of
// a run ever get where it must not.
#include <algorithm>
#include <chrono>
#include <vector>

#include "base/printable.h"
#include "bittern/error.h"
#include "bittern/progress.h"
#include "watch/page_files.h"
#include "watch/report_history.h"

namespace bittern {
namespace {

std::string html_escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

/// What the page draws, from the table of metrics: charts of steps and evaluations in the order of their places, each
/// {"title", "large", "curves": [{"key", "label", "smooth", "dots"}]}, then those of roles, {"title", "roles": NAME}.
nlohmann::ordered_json charts_json(const MetricTables& tables) {
  struct Curve {
    const char* key;
    const Drawing* drawing;
  };
  std::vector<Curve> curves;
  const auto take = [&](const auto& table) {
    for (const auto& metric : table)
      if (metric.drawing.chart != nullptr) curves.push_back({metric.name, &metric.drawing});
  };
  take(tables.step);
  take(tables.evaluation);
  std::ranges::stable_sort(curves, {}, [](const Curve& curve) { return curve.drawing->place; });

  auto charts = nlohmann::ordered_json::array();
  for (const auto& [key, drawing] : curves) {
    if (charts.empty() || charts.back()["title"] != drawing->chart)
      charts.push_back(
          {{"title", drawing->chart}, {"large", drawing->large}, {"curves", nlohmann::ordered_json::array()}});
    charts.back()["curves"].push_back(
        {{"key", key}, {"label", drawing->label}, {"smooth", drawing->smooth}, {"dots", drawing->dots}});
  }
  for (const Metric<RoleMetrics>& metric : tables.role)
    if (metric.drawing.chart != nullptr) charts.push_back({{"title", metric.drawing.chart}, {"roles", metric.name}});
  return charts;
}

}  // namespace

// '<' and '>' occur in JSON only inside strings, where an escape means the same.
std::string script_safe(std::string json) {
  std::string result;
  result.reserve(json.size());
  for (const char c : json) {
    switch (c) {
      case '<':
        result += "\\u003c";
        break;
      case '>':
        result += "\\u003e";
        break;
      case '&':
        result += "\\u0026";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string report_page(const std::vector<std::string>& runs, const std::string& title, bool live,
                        const MetricTables& tables) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  std::string data = fmt::format("{{\"live\":{},\"time\":{:.3f},\"charts\":{},\"runs\":[", live, now.count(),
                                 charts_json(tables).dump());
  for (std::size_t i = 0; i < runs.size(); ++i) data += (i == 0 ? "" : ",\n") + runs[i];
  data += "]}";
  std::string page = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>)html";
  page += html_escaped(printable(title)) + " · bittern</title>\n<style>\n";
  page += page_css;
  page +=
      "</style>\n</head>\n<body>\n<main><noscript>This report draws its curves with JavaScript.</noscript></main>\n";
  page += "<script type=\"application/json\" id=\"data\">" + script_safe(std::move(data)) +
          "</script>\n<script>\n'use strict';\n(() => {\n";
  page += page_chart_js;
  page += page_js;
  return page + "})();\n</script>\n</body>\n</html>\n";
}

}  // namespace bittern
