// TensorBoard events. A file of TFRecords, each a hand-encoded protocol buffer:
//   record  length u64 | masked crc32c(length) u32 | bytes | masked crc32c(bytes) u32        (little-endian)
//   Event   1 wall_time double | 2 step int64 | 3 file_version string | 5 Summary | 7 SessionLog
//   Summary 1 repeated Value { 1 tag string | 2 simple_value float }      SessionLog  1 status (START = 1)
// (tensorflow/core/util/event.proto, framework/summary.proto, lib/io/record_writer.h)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/lines.h"
#include "watch/metric_table.h"

namespace bittern {

/// CRC-32C (Castagnoli; RFC 3720 B.4).
std::uint32_t crc32c(std::string_view bytes);

/// Each start writes a new file, whose first events declare void (SessionLog START) what earlier files of the folder
/// say about steps after `resumed_step`: a resume draws no step twice.
class TensorboardWriter {
 public:
  TensorboardWriter(const std::string& directory, std::int64_t resumed_step,
                    const MetricTables& tables = metric_tables());
  /// One event each, of the metrics that the table draws. A role's tag is "ROLE/NAME".
  void step(const StepMetrics& metrics);
  void statistics(const StatisticsMetrics& metrics);
  void evaluation(const EvalMetrics& metrics);
  void sync() { file_.sync(); }
  const std::string& path() const { return path_; }

 private:
  const MetricTables& tables_;
  std::string path_;
  AppendFile file_;
};

}  // namespace bittern
