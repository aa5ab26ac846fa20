// Progress: what a person or a script sees of a program that runs for long.
//
//   Console        the terminal: whole lines, and one status line below them that is rewritten in place. In a pipe
//                  there is no status line and no control character. Text from outside (a model's sample, a file's
//                  name) is made harmless before it reaches the terminal.
//   TrainProgress  training's status line, or a plain line now and then
//   ProgressBar    the same for any work with a known or unknown total (prepare)
//   Heartbeat      RUN/heartbeat.json, for whoever watches from outside
//   setup_logging  spdlog's lines to the console and, with times, to RUN/log.txt
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "bittern/metrics.h"

namespace bittern {

/// What a stream can show.
struct TerminalTraits {
  bool live = false;     ///< a terminal that can rewrite a line
  bool colour = false;   ///< and NO_COLOR is not set
  bool unicode = false;  ///< the locale is UTF-8
  int width = 0;         ///< 0: asked from the terminal at every redraw
};
TerminalTraits terminal_traits(int descriptor);

/// Lines, and a status line below them. Safe from many threads: a checkpoint's writer may log while training draws.
class Console {
 public:
  explicit Console(int descriptor) : Console(descriptor, terminal_traits(descriptor)) {}
  Console(int descriptor, const TerminalTraits& traits) : descriptor_(descriptor), traits_(traits) {}
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;
  ~Console() { clear_status(); }

  enum class Style { plain, strong, faint, warning, error };
  /// Prints text (one line or more) above the status line.
  void print(std::string_view text, Style style = Style::plain);
  /// Rewrites the status line; nothing happens in a pipe. Longer text is cut to the width.
  void status(std::string_view text);
  void clear_status();

  const TerminalTraits& traits() const { return traits_; }
  int width() const;

 private:
  void write(std::string_view bytes);

  int descriptor_;
  TerminalTraits traits_;
  std::mutex mutex_;
  std::string status_;
};

/// "1,234,567", "12.3k", "1.50 GiB", "1h 05m": how the console and the report write numbers.
std::string with_commas(std::int64_t value);
std::string short_number(double value);
std::string short_bytes(double bytes);
std::string short_duration(double seconds);

/// Seconds, from any origin; replaced in tests.
using Clock = std::function<double()>;
double steady_seconds();

/// How fast something goes, and the time left that follows. The first step is not representative (caches, page faults),
/// so it counts only until there is a second; the past is forgotten beyond the last minute or the last quarter of the
/// time, whichever is longer, so that evaluations are averaged in and a change of speed shows.
class RateMeter {
 public:
  /// `done` units are finished at `now`; the first call is the start.
  void add(double now, double done);
  /// Units per second; 0 until two calls at different times.
  double rate() const;
  /// Negative until there is something to estimate from.
  double seconds_left(double total) const;

 private:
  struct Mark {
    double time, done;
  };
  std::deque<Mark> marks_;
  double started_at_ = 0;
  std::int64_t calls_ = 0;
};

struct TrainProgressOptions {
  std::int64_t total_steps = 0;
  std::int64_t first_step = 0;   ///< already done by the run that is resumed
  double best_valid_loss = 0;    ///< of the run that is resumed; 0: none yet
  double flops_per_token = 0;    ///< of training; 0: % of peak is not shown
  double peak_flops = 0;         ///< per second: the machine's measured GEMM peak
  double plain_interval = 10;    ///< seconds between lines in a pipe
  double redraw_interval = 0.1;  ///< seconds between redraws on a terminal
};

class TrainProgress {
 public:
  TrainProgress(Console& console, const TrainProgressOptions& options, Clock clock = steady_seconds);
  /// After every step, whether it is logged or not: cheap.
  void step(const StepMetrics& metrics);
  void evaluation(const EvalMetrics& metrics);
  void sample(const Sample& sample);
  /// What the loop does instead of training ("evaluating", "saving"); the next step clears it.
  void activity(std::string_view what);
  /// Leaves the last state as a line.
  void finish();

 private:
  std::string live_line() const;
  std::string plain_line() const;
  void draw();

  Console& console_;
  TrainProgressOptions options_;
  Clock clock_;
  RateMeter steps_;
  StepMetrics last_;
  std::int64_t steps_seen_ = 0;
  double tokens_per_second_ = 0;  // smoothed
  double best_valid_loss_;        // 0: none yet
  double drawn_at_ = 0;
  std::string activity_;
};

class ProgressBar {
 public:
  enum class Unit { items, bytes };
  /// `total` 0 means unknown. `label` says what is done: "tokenize".
  ProgressBar(Console& console, std::string label, std::int64_t total, Unit unit, Clock clock = steady_seconds);
  void update(std::int64_t done);
  /// Prints what was done, at which rate.
  void finish();

 private:
  std::string amount(double value) const;

  Console& console_;
  std::string label_;
  std::int64_t total_;
  Unit unit_;
  Clock clock_;
  RateMeter meter_;
  double started_at_;
  double drawn_at_;
  std::int64_t done_ = 0;
};

enum class RunStatus { starting, training, saving, finished, stopped, failed };
std::string_view status_name(RunStatus status);

/// RUN/heartbeat.json: {"step":7,"time":1700000000.5,"pid":42,"status":"training","message":""}. Written atomically,
/// when status or message change and otherwise at most once a second. It never fails: a run must not die of it.
class Heartbeat {
 public:
  explicit Heartbeat(const std::string& run_directory) : path_(run_directory + "/heartbeat.json") {}
  void beat(std::int64_t step, RunStatus status, std::string_view message = {});

 private:
  std::string path_;
  double written_at_ = -1;
  RunStatus last_ = RunStatus::starting;
  std::string last_message_;
  bool complained_ = false;
};

/// Makes spdlog's default logger write to the console and, if `log_path` is not empty, append to that file with times.
/// The console must outlive the logging: call stop_logging before it goes.
void setup_logging(Console& console, const std::string& log_path);
void stop_logging();
/// A line for log.txt alone: what the console is told in another way.
void log_to_file(std::string_view text);

}  // namespace bittern
