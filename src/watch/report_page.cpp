// The page: one HTML text without any outside resource. The runs are data in a <script type="application/json">; the
// script beside it draws them. A content security policy forbids the browser to load or send anything, should a text of
// a run ever get where it must not.
#include "watch/report_page.h"

#include <chrono>

#include "bittern/error.h"
#include "bittern/progress.h"
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

std::string report_page(const std::vector<std::string>& runs, const std::string& title, bool live) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  std::string data = fmt::format("{{\"live\":{},\"time\":{:.3f},\"runs\":[", live, now.count());
  for (std::size_t i = 0; i < runs.size(); ++i) data += (i == 0 ? "" : ",\n") + runs[i];
  data += "]}";
  std::string page = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>)html";
  page += html_escaped(printable(title)) + " · bittern</title>\n<style>" + report_style + "</style>\n</head>\n<body>\n";
  page += "<main><noscript>This report draws its curves with JavaScript.</noscript></main>\n";
  page += "<script type=\"application/json\" id=\"data\">" + script_safe(std::move(data)) +
          "</script>\n<script>\n'use strict';\n(() => {";
  page += report_chart_script;
  page += report_page_script;
  return page + "})();\n</script>\n</body>\n</html>\n";
}

}  // namespace bittern
