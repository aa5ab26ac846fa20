// The lines of metrics.jsonl: one table of fields per kind of line serves both writing and reading.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "bittern/error.h"
#include "bittern/metrics.h"

namespace bittern {
namespace {

using nlohmann::json;

// The keys, in the order of the line. `Metrics` is const for writing.
template <typename Metrics, typename Visit>
void step_fields(Metrics& m, Visit&& field) {
  field("step", m.step);
  field("tokens", m.tokens);
  field("loss", m.loss);
  field("z_loss", m.z_loss);
  field("lr", m.lr);
  field("grad_norm", m.grad_norm);
  field("clip_scale", m.clip_scale);
  field("skipped", m.skipped);
  field("skipped_steps", m.skipped_steps);
  field("tokens_per_second", m.tokens_per_second);
  field("step_ms", m.step_ms);
  field("seconds", m.seconds);
  field("peak_rss", m.peak_rss);
}

template <typename Metrics, typename Visit>
void evaluation_fields(Metrics& m, Visit&& field) {
  field("step", m.step);
  field("tokens", m.tokens);
  field("valid_loss", m.valid_loss);
  field("valid_tokens", m.valid_tokens);
  field("evaluate_ms", m.evaluate_ms);
  field("seconds", m.seconds);
}

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

void write_fields(Write& write, const RunInfo& info) {
  write("step", std::int64_t{0});
  write("run", info.name);
  write("parameters", info.parameters);
}
void write_fields(Write& write, const StepMetrics& metrics) {
  step_fields(metrics, write);
}
void write_fields(Write& write, const StatisticsMetrics& metrics) {
  write("step", metrics.step);
  write("tokens", metrics.tokens);
  write.key("statistics");
  Write roles;
  for (const RoleMetrics& role : metrics.roles) {
    Write one;
    for (const auto& [name, value] : role_fields) one(name, role.*value);
    roles.key(role.role.c_str());
    roles.text += one.text + "}";
  }
  write.text += roles.text + "}";
}
void write_fields(Write& write, const EvalMetrics& metrics) {
  evaluation_fields(metrics, write);
}
void write_fields(Write& write, const Sample& sample) {
  write("step", sample.step);
  write("sample", sample.text);
}

}  // namespace

std::string format_metrics_line(const MetricsLine& line) {
  Write write;
  std::visit([&](const auto& metrics) { write_fields(write, metrics); }, line);
  return std::move(write.text) + "}";
}

std::optional<MetricsLine> parse_metrics_line(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  const Read read{object};
  std::int64_t step = -1;
  read("step", step);
  if (step < 0) return std::nullopt;
  if (object.contains("loss")) {
    StepMetrics metrics;
    step_fields(metrics, read);
    return metrics;
  }
  if (const auto roles = object.find("statistics"); roles != object.end() && roles->is_object()) {
    StatisticsMetrics metrics{.step = step, .tokens = 0, .roles = {}};
    read("tokens", metrics.tokens);
    for (const auto& [name, fields] : roles->items()) {
      if (!fields.is_object()) continue;
      RoleMetrics& role = metrics.roles.emplace_back();
      role.role = name;
      for (const auto& [field, value] : role_fields) Read{fields}(field, role.*value);
    }
    return metrics;
  }
  if (object.contains("valid_loss")) {
    EvalMetrics metrics;
    evaluation_fields(metrics, read);
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
