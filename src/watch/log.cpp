// The log: each line goes to the console, and with its time to RUN/log.txt.
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <ostream>
#include <streambuf>
#include <string>
#include <vector>

#include "base/printable.h"
#include "bittern/error.h"
#include "bittern/progress.h"

namespace bittern {
namespace {

/// What spdlog writes to: hands whole messages to the console. A message is the letter of its level, its text, and a
/// newline (the sink's pattern below), and the sink flushes after each.
class ConsoleBuffer final : public std::streambuf {
 public:
  explicit ConsoleBuffer(Console& console) : console_(console) {}

 private:
  std::streamsize xsputn(const char* text, std::streamsize count) override {
    message_.append(text, static_cast<std::size_t>(count));
    return count;
  }
  int_type overflow(int_type c) override {
    if (c != traits_type::eof()) message_ += traits_type::to_char_type(c);
    return c;
  }
  int sync() override {
    if (message_.ends_with('\n')) message_.pop_back();
    if (!message_.empty()) print(message_[0], message_.substr(1));
    message_.clear();
    return 0;
  }
  void print(char level, const std::string& text) {
    if (level == 'E' || level == 'C') {
      console_.print("error: " + text, Console::Style::error);
    } else if (level == 'W') {
      console_.print("warning: " + text, Console::Style::warning);
    } else {
      console_.print(text);
    }
  }

  Console& console_;
  std::string message_;
};

struct ConsoleStream {
  explicit ConsoleStream(Console& console) : buffer(console), stream(&buffer) {}
  ConsoleBuffer buffer;
  std::ostream stream;
};

std::shared_ptr<spdlog::logger> logger_to(std::vector<spdlog::sink_ptr> sinks) {
  auto logger = std::make_shared<spdlog::logger>("bittern", sinks.begin(), sinks.end());
  logger->set_level(spdlog::level::info);
  logger->flush_on(spdlog::level::info);  // a killed run's log holds everything it said
  return logger;
}

/// What the default logger writes to lives here, longer than the logger.
struct Logging {
  std::unique_ptr<ConsoleStream> console;
  std::shared_ptr<spdlog::logger> file;  ///< none without a log.txt
};
Logging& logging() {
  static Logging state;
  return state;
}

}  // namespace

void setup_logging(Console& console, const std::string& log_path) {
  Logging next{.console = std::make_unique<ConsoleStream>(console), .file = nullptr};
  std::vector<spdlog::sink_ptr> sinks{
      std::make_shared<spdlog::sinks::ostream_sink_mt>(next.console->stream, true)};  // flushed after each message
  sinks[0]->set_pattern("%L%v");
  if (!log_path.empty()) {
    try {
      sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(log_path, false));
    } catch (const spdlog::spdlog_ex& error) {
      throw failure("{}: cannot be opened for appending: {}; choose a run folder that can be written with --out",
                    log_path, error.what());
    }
    sinks[1]->set_pattern("%Y-%m-%d %H:%M:%S.%e %-7l %v");
    next.file = logger_to({sinks[1]});
  }
  spdlog::set_default_logger(logger_to(std::move(sinks)));
  logging() = std::move(next);
}

void log_to_file(std::string_view text) {
  if (logging().file) logging().file->error("{}", printable(text));
}

void stop_logging() {
  // Without sinks: what comes later is dropped.
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("bittern"));
  logging() = {};
}

}  // namespace bittern
