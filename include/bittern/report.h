// The report: curves of one run or of several, as one page and as a table.
//
// The page is self-contained (no network, works from file://), bounded (a curve keeps at most 2,000 points, extremes
// included, however long the run) and safe (names and samples are data in it, never markup).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bittern/metrics.h"
#include "bittern/progress.h"

namespace bittern {

/// What `bittern report` does with the runs that it is given: run folders, or metrics.jsonl files.
class Report {
 public:
  /// Lines that are no metrics are passed over and counted; a run without a metrics file is an error.
  explicit Report(const std::vector<std::string>& runs);
  ~Report();
  /// For the terminal: a row per run.
  std::string table() const;
  /// The same as a JSON array of objects.
  std::string json() const;
  void write(const std::string& out) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// RUN/report.html, kept up to date while the run trains. Make it after the MetricsWriter: it starts from what
/// metrics.jsonl holds, and from then on is told what the writer is told, so the file is not read again.
class LiveReport {
 public:
  /// `effective_config` is the text of RUN/config.json.
  LiveReport(const std::string& run_directory, const std::string& effective_config);
  ~LiveReport();
  void add(const MetricsLine& line);
  /// Writes the page if the last one is old enough: at least 5 seconds, and a hundred times what writing it took, so it
  /// costs at most 1 % of the run. Call it every step. It never fails: a run must not die of it.
  void update(RunStatus status);
  /// Writes the page now.
  void finish(RunStatus status);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bittern
