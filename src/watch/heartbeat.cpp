// The heartbeat: what a run tells those who watch it from outside.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/lines.h"
#include "base/printable.h"
#include "bittern/error.h"
#include "bittern/progress.h"

namespace bittern {

constexpr std::size_t longest_message = 2000;

std::string_view status_name(RunStatus status) {
  switch (status) {
    case RunStatus::starting:
      return "starting";
    case RunStatus::training:
      return "training";
    case RunStatus::saving:
      return "saving";
    case RunStatus::finished:
      return "finished";
    case RunStatus::stopped:
      return "stopped";
    case RunStatus::failed:
      break;
  }
  return "failed";
}

void Heartbeat::beat(std::int64_t step, RunStatus status, std::string_view message) {
  const double now = steady_seconds();
  const bool changed = status != last_ || message != last_message_;
  if (written_at_ >= 0 && !changed && now - written_at_ < 1.0) return;
  written_at_ = now;
  last_ = status;
  last_message_ = message;
  const std::chrono::duration<double> since_epoch = std::chrono::system_clock::now().time_since_epoch();
  nlohmann::ordered_json json;
  json["step"] = step;
  json["time"] = std::round(since_epoch.count() * 1000) / 1000;
  json["pid"] = ::getpid();
  json["status"] = status_name(status);
  json["message"] = printable(message, longest_message);
  try {
    replace_file(path_, json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  } catch (const Error& error) {
    if (!complained_) spdlog::warn("no heartbeat: {}", error.what());
    complained_ = true;
  }
}

}  // namespace bittern
