// The heartbeat and the log: what a run tells those who are not looking at its terminal.
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "base/lines.h"
#include "bittern/error.h"
#include "bittern/progress.h"

namespace bittern {
namespace {

class ConsoleSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit ConsoleSink(Console& console) : console_(console) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string text(message.payload.data(), message.payload.size());
    if (message.level >= spdlog::level::err) {
      console_.print("error: " + text, Console::Style::error);
    } else if (message.level == spdlog::level::warn) {
      console_.print("warning: " + text, Console::Style::warning);
    } else {
      console_.print(text);
    }
  }
  void flush_() override {}

  Console& console_;
};

}  // namespace

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
  json["message"] = message;
  try {
    replace_file(path_, json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  } catch (const Error& error) {
    if (!complained_) spdlog::warn("no heartbeat: {}", error.what());
    complained_ = true;
  }
}

void setup_logging(Console& console, const std::string& log_path) {
  std::vector<spdlog::sink_ptr> sinks{std::make_shared<ConsoleSink>(console)};
  if (!log_path.empty()) {
    try {
      sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(log_path, false));
      sinks.back()->set_pattern("%Y-%m-%d %H:%M:%S.%e %-7l %v");
    } catch (const spdlog::spdlog_ex& error) {
      throw failure("{}: cannot be opened for appending: {}; choose a run folder that can be written with --out",
                    log_path, error.what());
    }
  }
  auto logger = std::make_shared<spdlog::logger>("bittern", sinks.begin(), sinks.end());
  logger->set_level(spdlog::level::info);
  logger->flush_on(spdlog::level::info);  // a killed run's log holds everything it said
  spdlog::set_default_logger(logger);
}

void log_to_file(std::string_view text) {
  const auto& sinks = spdlog::default_logger()->sinks();
  if (sinks.size() < 2) return;
  sinks.back()->log(
      spdlog::details::log_msg("bittern", spdlog::level::err, spdlog::string_view_t(text.data(), text.size())));
  sinks.back()->flush();
}

void stop_logging() {
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("bittern"));  // without sinks: what comes later is dropped
}

}  // namespace bittern
