// One table of the signals that ask for a stop, and the handler that only counts.
#include "base/signals.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>

namespace bittern {
namespace {

struct Row {
  int number;
  std::string_view name;
};
constexpr std::array<Row, 6> rows = {{{SIGINT, "SIGINT"},
                                      {SIGTERM, "SIGTERM"},
                                      {SIGHUP, "SIGHUP"},
                                      {SIGUSR1, "SIGUSR1"},
                                      {SIGUSR2, "SIGUSR2"},
                                      {SIGXCPU, "SIGXCPU"}}};

std::atomic<int> first{0};  // the signal that asked for a stop; 0: none
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch lock-free atomics only");

extern "C" void on_stop(int signal) {
  int none = 0;
  if (!first.compare_exchange_strong(none, signal) && signal == SIGINT) _exit(128 + SIGINT);
}

std::array<struct sigaction, rows.size()> previous;

}  // namespace

void ignore_write_signals() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

StopSignals::StopSignals() {
  first = 0;
  struct sigaction action {};
  action.sa_handler = on_stop;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    sigaction(rows[i].number, &action, &previous[i]);
    if (rows[i].number == SIGHUP && previous[i].sa_handler == SIG_IGN) sigaction(SIGHUP, &previous[i], nullptr);
  }
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < rows.size(); ++i) sigaction(rows[i].number, &previous[i], nullptr);
}

bool stop_requested() {
  return first.load() != 0;
}

std::string_view stop_signal() {
  for (const Row& row : rows)
    if (row.number == first.load()) return row.name;
  return {};
}

}  // namespace bittern
