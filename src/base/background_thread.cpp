// Starts a thread for work beside training. It has the lowest priority, and signals are never delivered to it.
#include "base/background_thread.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <system_error>
#include <utility>

#include "bittern/error.h"

namespace bittern {
namespace {

// Linux gives every thread its own niceness. Training threads wait for one another, so a delay of one is a delay of
// all. When a training thread waits for the background, the core is free anyway.
void lower_priority() {
#ifdef SYS_gettid
  static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 19));
#endif
}

/// Blocks every signal until it goes; a thread that is started meanwhile inherits the mask.
struct SignalsBlocked {
  sigset_t before;
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before, nullptr); }
};

}  // namespace

std::thread background_thread(std::string_view what, std::function<void()> work) {
  const SignalsBlocked blocked;
  try {
    return std::thread([work = std::move(work)] {
      lower_priority();
      work();
    });
  } catch (const std::system_error& error) {
    throw failure("{}: cannot start a thread: {}; lower the number of threads or raise the limit (ulimit -u)", what,
                  error.what());
  }
}

}  // namespace bittern
