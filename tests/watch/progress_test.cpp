#include "bittern/progress.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bittern/error.h"
#include "bittern/file.h"
#include "catch.h"
#include "temporary_folder.h"

using namespace bittern;

namespace {

std::string fresh_directory(const std::string& name) {
  static const TemporaryFolder all("progress");
  const std::string path = all / name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

// A console that writes to a file, as a terminal of a given width or as a pipe.
struct Screen {
  std::string path;
  int descriptor;
  Console console;

  Screen(const std::string& name, const TerminalTraits& traits)
      : path(fresh_directory(name) + "/screen"),
        descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND, 0600)),
        console(descriptor, traits) {}
  ~Screen() { ::close(descriptor); }
  std::string text() const { return read_whole_file(path, 1 << 24, "screen"); }
};

constexpr TerminalTraits pipe_traits{};
constexpr TerminalTraits terminal{.live = true, .colour = false, .unicode = false, .width = 100};

StepMetrics step_at(std::int64_t step, double tokens_per_second = 1000) {
  StepMetrics m;
  m.step = step;
  m.loss = 3.25;
  m.lr = 1e-3;
  m.grad_norm = 0.5;
  m.tokens_per_second = tokens_per_second;
  return m;
}

bool has_control_characters(const std::string& text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return c != '\n' && static_cast<unsigned char>(c) < 0x20; });
}

}  // namespace

TEST_CASE("console: text from outside cannot steer the terminal") {
  Screen screen("hostile", terminal);
  screen.console.print("\x1b]0;owned\x07 \xff");
  CHECK(screen.text() == "\\x1b]0;owned\\x07 \\xff\n");
}

TEST_CASE("console: lines go above the status line, which is cut to the width") {
  Screen screen("lines", {.live = true, .colour = true, .unicode = true, .width = 20});
  screen.console.status("\x1b[36m\xe2\x94\x81\xe2\x94\x81\x1b[0m 0123456789 abcdefghijkl");
  screen.console.print("a message", Console::Style::warning);
  screen.console.clear_status();
  const std::string status = "\x1b[36m\xe2\x94\x81\xe2\x94\x81\x1b[0m 0123456789 abcde";  // 19 columns
  CHECK(screen.text() == "\r" + status + "\x1b[K" + "\r\x1b[K\x1b[33ma message\x1b[0m\n" + status + "\r\x1b[K");
}

TEST_CASE("console: a pipe sees whole lines only") {
  Screen screen("pipe", pipe_traits);
  screen.console.status("never seen");
  screen.console.print("seen", Console::Style::strong);
  screen.console.clear_status();
  CHECK(screen.text() == "seen\n");
}

TEST_CASE("console: lines of many threads stay whole") {
  Screen screen("threads", terminal);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&screen, t] {
      for (int i = 0; i < 50; ++i) {
        screen.console.print(fmt::format("line {} {}", t, i));
        screen.console.status(fmt::format("status {}", t));
      }
    });
  for (std::thread& thread : threads) thread.join();
  screen.console.clear_status();
  for (int t = 0; t < 4; ++t)
    for (int i = 0; i < 50; ++i) CHECK(screen.text().find(fmt::format("line {} {}\n", t, i)) != std::string::npos);
}

TEST_CASE("console: a reader that went away is no error") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  ::close(ends[0]);
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  Console(ends[1]).print("to nobody");
  std::signal(SIGPIPE, before);
  ::close(ends[1]);
}

TEST_CASE("text: numbers, bytes and durations as a person writes them") {
  CHECK(with_commas(0) == "0");
  CHECK(with_commas(999) == "999");
  CHECK(with_commas(1000) == "1,000");
  CHECK(with_commas(-1234567) == "-1,234,567");
  CHECK(short_number(0) == "0");
  CHECK(short_number(12.345) == "12.3");
  CHECK(short_number(999.6) == "1.00k");
  CHECK(short_number(12345) == "12.3k");
  CHECK(short_number(5172992) == "5.17M");
  CHECK(short_bytes(512) == "512 B");
  CHECK(short_bytes(1.5 * (1 << 30)) == "1.50 GiB");
  CHECK(short_duration(0.25) == "0.2s");
  CHECK(short_duration(65) == "1m 05s");
  CHECK(short_duration(3900) == "1h 05m");
  CHECK(short_duration(90000) == "1d 01h");
  CHECK(short_duration(-1) == "?");
}

TEST_CASE("rate: the slow first step does not spoil the estimate") {
  RateMeter meter;
  meter.add(0, 0);
  CHECK(meter.seconds_left(100) < 0);
  meter.add(20, 1);  // twenty times slower than the others
  CHECK(std::abs(meter.seconds_left(100) - 99 * 20.0) < 1e-9);
  meter.add(21, 2);
  CHECK(std::abs(meter.seconds_left(100) - 98.0) < 1e-9);
  for (int step = 3; step <= 50; ++step) meter.add(19 + step, step);
  CHECK(std::abs(meter.seconds_left(100) - 50.0) < 1e-9);
}

TEST_CASE("rate: evaluations are averaged in, a lasting change of speed is followed, memory stays bounded") {
  RateMeter meter;
  double now = 0;
  for (int step = 0; step < 20000; ++step) {
    now += 0.1;
    if (step % 100 == 99) now += 5;  // a third of the time goes into evaluation
    meter.add(now, step);
    if (step > 1000) {
      CHECK(meter.rate() > 1 / 0.15 * 0.85);
      CHECK(meter.rate() < 1 / 0.15 * 1.15);
    }
  }
  for (int step = 20000; step < 40000; ++step) meter.add(now += 1, step);
  CHECK(std::abs(meter.rate() - 1.0) < 0.01);
}

TEST_CASE("train progress: in a pipe, plain lines now and then without a control character") {
  Screen screen("train_pipe", pipe_traits);
  setup_logging(screen.console, "");
  double now = 0;
  TrainProgress progress(screen.console,
                         {.total_steps = 1000, .flops_per_token = 5e6, .peak_flops = 1e10, .plain_interval = 10},
                         [&] { return now; });
  for (int step = 1; step <= 1000; ++step) {
    now += 0.5;
    progress.step(step_at(step));
    if (step == 500) {
      progress.evaluation({.step = 500, .valid_loss = 3.0});
      progress.sample({500, "Once\x1b[2J upon"});
    }
  }
  progress.finish();
  stop_logging();
  const std::string text = screen.text();
  CHECK(!has_control_characters(text));
  CHECK(std::count(text.begin(), text.end(), '\n') == 1 + 49 + 1 + 2);  // the first, every 10 s, the last, two messages
  CHECK(text.find("step 1/1,000  loss 3.2500  lr 0.001  grad 0.5  1.00k tok/s  50% of peak  8m 20s left\n") == 0);
  CHECK(text.find("step 500  valid loss 3.0000  perplexity 20.09  (best so far)\n") != std::string::npos);
  CHECK(text.find("step 500  sample: Once\\x1b[2J upon\n") != std::string::npos);
}

TEST_CASE("train progress: a resumed run remembers its best validation loss") {
  Screen screen("train_best", pipe_traits);
  setup_logging(screen.console, "");
  TrainProgress progress(screen.console, {.total_steps = 1000, .first_step = 500, .best_valid_loss = 3.0});
  progress.evaluation({.step = 600, .valid_loss = 3.1});
  progress.evaluation({.step = 700, .valid_loss = 2.9});
  stop_logging();
  const std::string text = screen.text();
  CHECK(text.find("valid loss 3.1000  perplexity 22.20\n") != std::string::npos);
  CHECK(text.find("valid loss 2.9000  perplexity 18.17  (best so far)\n") != std::string::npos);
}

TEST_CASE("train progress: on a terminal, one line of at most the width") {
  for (const int width : {10, 30, 45, 60, 79, 80, 100, 120, 250}) {
    Screen screen("train_live", {.live = true, .colour = false, .unicode = false, .width = width});
    double now = 0;
    TrainProgress progress(screen.console, {.total_steps = 11444, .flops_per_token = 5e6, .peak_flops = 1e10},
                           [&] { return now; });
    for (int step = 1; step <= 200; ++step) {
      now += 0.5;
      progress.step(step_at(step));
    }
    std::string text = screen.text();
    CHECK(text.find('\n') == std::string::npos);
    text = text.substr(text.rfind('\r') + 1);
    text.resize(text.size() - 3);  // erase to the end of the line
    CHECK(static_cast<int>(text.size()) < width);
    if (width >= 45) CHECK(text.find("1h 33m left") != std::string::npos);
    if (width >= 80) CHECK(text.find("50% of peak") != std::string::npos);
    if (width >= 100) CHECK(text.find("--]") != std::string::npos);
    progress.finish();
  }
}

TEST_CASE("train progress: a diverged run is shown as it is") {
  Screen screen("nan", pipe_traits);
  TrainProgress progress(screen.console, {.total_steps = 10});
  StepMetrics m = step_at(1);
  m.loss = std::numeric_limits<double>::quiet_NaN();
  m.skipped_steps = 1;
  progress.step(m);
  CHECK(screen.text().find("loss nan") != std::string::npos);
  CHECK(screen.text().find("1 skipped") != std::string::npos);
}

TEST_CASE("progress bar: bytes with rate and time left, then a summary") {
  Screen screen("bar", terminal);
  double now = 0;
  {
    ProgressBar bar(screen.console, "tokenize", std::int64_t{1} << 30, ProgressBar::Unit::bytes, [&] { return now; });
    for (int i = 1; i <= 4; ++i) {
      now += 1;
      bar.update(i * (std::int64_t{64} << 20));
    }
    const std::string text = screen.text();
    CHECK(text.find("25%  256 MiB of 1.00 GiB  64.0 MiB/s  12s left") != std::string::npos);
    bar.finish();
  }
  CHECK(screen.text().find("tokenize: 256 MiB in 4.0s (64.0 MiB/s)\n") != std::string::npos);
  // An unknown total shows neither percentage nor time left.
  Screen plain("bar_plain", pipe_traits);
  ProgressBar bar(plain.console, "read", 0, ProgressBar::Unit::items, [&] { return now; });
  now += 11;
  bar.update(5500);
  CHECK(plain.text() == "read  5.50k  500/s\n");
}

TEST_CASE("heartbeat: valid JSON, at most once a second, and at once when status or message change") {
  const std::string run = fresh_directory("heartbeat");
  const auto read = [&] { return nlohmann::json::parse(read_whole_file(run + "/heartbeat.json", 4096, "heartbeat")); };
  Heartbeat heartbeat(run);
  heartbeat.beat(0, RunStatus::starting);
  CHECK(read().at("status") == "starting");
  heartbeat.beat(1, RunStatus::training);
  heartbeat.beat(2, RunStatus::training);
  CHECK(read().at("step") == 1);
  CHECK(read().at("pid") == ::getpid());
  heartbeat.beat(2, RunStatus::training, "evaluating");
  CHECK(read().at("message") == "evaluating");
  CHECK(read().at("step") == 2);
  heartbeat.beat(3, RunStatus::failed, "the loss is \"nan\"\n\xff");
  CHECK(read().at("status") == "failed");
  CHECK(read().at("message").get<std::string>().starts_with("the loss is \"nan\"\n"));
  CHECK(!std::filesystem::exists(run + "/heartbeat.json.tmp"));
  Heartbeat(run + "/missing").beat(1, RunStatus::training);  // nobody can see it, but the run goes on
}

TEST_CASE("log: lines are appended to the file with their times and shown on the console") {
  const std::string run = fresh_directory("log");
  Screen screen("log_screen", pipe_traits);
  for (int start = 0; start < 2; ++start) {
    setup_logging(screen.console, run + "/log.txt");
    spdlog::info("hello {}", start);
    spdlog::warn("careful");
    stop_logging();
    spdlog::info("unheard");
  }
  CHECK(screen.text() == "hello 0\nwarning: careful\nhello 1\nwarning: careful\n");
  const std::string log = read_whole_file(run + "/log.txt", 1 << 16, "log");
  CHECK(std::count(log.begin(), log.end(), '\n') == 4);
  std::string shape = log.substr(0, log.find('\n'));
  for (char& c : shape)
    if (c >= '0' && c <= '9') c = 'd';
  CHECK(shape == "dddd-dd-dd dd:dd:dd.ddd info    hello d");
  CHECK_THROWS_AS(setup_logging(screen.console, "/proc/none/log.txt"), Error);
}
