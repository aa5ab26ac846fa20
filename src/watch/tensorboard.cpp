// Encodes metrics as TensorBoard events, and appends them to the run's event file.
#include "watch/tensorboard.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <type_traits>

#include "bittern/error.h"

namespace bittern {
namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> crc_table = make_crc_table();

template <typename T>
std::string little_endian(T value) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  const Bits bits = std::bit_cast<Bits>(value);
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>(bits >> (8 * i) & 0xFF);
  return bytes;
}

std::string record(std::string_view bytes) {
  // Stored checksums are rotated and offset, because a CRC over data that holds its own CRC is degenerate.
  const auto masked = [](std::string_view text) {
    const std::uint32_t crc = crc32c(text);
    return little_endian<std::uint32_t>((crc >> 15 | crc << 17) + 0xA282EAD8u);
  };
  const std::string length = little_endian<std::uint64_t>(bytes.size());
  return length + masked(length) + std::string(bytes) + masked(bytes);
}

// Protocol buffers: a field is its number and wire type, then its value.
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7F) | 0x80);
  return bytes + static_cast<char>(value);
}
std::string key(int number, int wire_type) {
  return varint(static_cast<std::uint64_t>(number << 3 | wire_type));
}
std::string field(int number, std::int64_t value) {
  return key(number, 0) + varint(static_cast<std::uint64_t>(value));
}
std::string field(int number, double value) {
  return key(number, 1) + little_endian(value);
}
std::string field(int number, float value) {
  return key(number, 5) + little_endian(value);
}
std::string field(int number, std::string_view bytes) {
  return key(number, 2) + varint(bytes.size()) + std::string(bytes);
}

std::string event(std::int64_t step, const std::string& payload) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return record(field(1, now.count()) + (step != 0 ? field(2, step) : "") + payload);
}

/// The values of a Summary: those metrics of the line that are drawn.
template <class Line>
std::string summary(const std::string& prefix, std::span<const Metric<Line>> table, const Line& line) {
  std::string values;
  for (const Metric<Line>& metric : table)
    if (metric.drawing.chart != nullptr)
      if (const std::optional<double> value = number(metric, line))
        values += field(1, field(1, prefix + metric.name) + field(2, static_cast<float>(*value)));
  return values;
}

// TensorBoard reads a folder's files in the order of their names, so a resumed run's file must sort after all others,
// even when the clock went back or both starts fell into one second.
std::string next_event_file(const std::string& directory) {
  constexpr std::string_view prefix = "events.out.tfevents.";
  make_directories(directory);
  std::int64_t stamp =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::error_code unreadable;  // then it is as good as empty; opening the file will say what is wrong
  for (const auto& entry : std::filesystem::directory_iterator(directory, unreadable)) {
    const std::string name = entry.path().filename().string();
    std::int64_t other = 0;
    if (name.starts_with(prefix) &&
        std::from_chars(name.data() + prefix.size(), name.data() + name.size(), other).ec == std::errc() &&
        other < 9'999'999'999)
      stamp = std::max(stamp, other + 1);
  }
  return fmt::format("{}/{}{:010d}.bittern", directory, prefix, stamp);
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) crc = crc_table[(crc ^ static_cast<unsigned char>(byte)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

TensorboardWriter::TensorboardWriter(const std::string& directory, std::int64_t resumed_step,
                                     const MetricTables& tables)
    : tables_(tables), path_(next_event_file(directory)), file_(path_) {
  const std::int64_t session_start = 1;
  file_.append(event(0, field(3, std::string_view("brain.Event:2"))) +
               event(resumed_step + 1, field(7, field(1, session_start))));
}

void TensorboardWriter::step(const StepMetrics& metrics) {
  file_.append(event(metrics.step, field(5, summary("", tables_.step, metrics))));
}

void TensorboardWriter::statistics(const StatisticsMetrics& metrics) {
  std::string values;
  for (const RoleMetrics& role : metrics.roles) values += summary(role.role + "/", tables_.role, role);
  if (!values.empty()) file_.append(event(metrics.step, field(5, values)));
}

void TensorboardWriter::evaluation(const EvalMetrics& metrics) {
  file_.append(event(metrics.step, field(5, summary("", tables_.evaluation, metrics))));
}

}  // namespace bittern
