// NoSignals: while it lives, this thread takes no signals, and a thread that it starts never will: signals are for the
// program's main thread. Whatever ends the scope, an exception too, gives the mask back.
#pragma once

#include <pthread.h>

#include <csignal>

namespace bittern::cpu {

class NoSignals {
 public:
  NoSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace bittern::cpu
