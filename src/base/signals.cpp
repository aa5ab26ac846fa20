// Handlers for SIGINT and SIGTERM. The first signal asks for a stop; a second SIGINT ends the process at once.
#include "base/signals.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace bittern {
namespace {

std::atomic<int> requests{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch lock-free atomics only");

extern "C" void on_stop(int signal) {
  if (requests.fetch_add(1) > 0 && signal == SIGINT) _exit(128 + SIGINT);
}

struct sigaction previous_int, previous_term;

}  // namespace

StopSignals::StopSignals() {
  requests = 0;
  struct sigaction action {};
  action.sa_handler = on_stop;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &previous_int);
  sigaction(SIGTERM, &action, &previous_term);
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &previous_int, nullptr);
  sigaction(SIGTERM, &previous_term, nullptr);
}

bool stop_requested() {
  return requests.load() > 0;
}

}  // namespace bittern
