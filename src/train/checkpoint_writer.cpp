// CheckpointWriter: one thread per checkpoint, joined before the next one starts.
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <system_error>
#include <utility>

#include "bittern/checkpoint.h"
#include "bittern/error.h"

namespace bittern {
namespace {

// Linux gives every thread its own niceness. The writer must not take time from a training thread: those wait for one
// another, so a delay of one is a delay of all. When a training thread waits for the writer, the core is free anyway.
void lower_priority() {
#ifdef SYS_gettid
  static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 19));
#endif
}

}  // namespace

CheckpointWriter::CheckpointWriter(std::string run_dir, std::int64_t keep) : run_dir_(std::move(run_dir)), keep_(keep) {
  remove_unfinished_checkpoints(run_dir_);
}

CheckpointWriter::~CheckpointWriter() {
  try {
    wait();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
}

void CheckpointWriter::submit(CheckpointContents contents) {
  wait();
  // Signals are for the main thread: the new thread inherits a mask that blocks them all.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  busy_ = true;
  try {
    thread_ = std::thread([this, contents = std::move(contents)] {
      lower_priority();
      try {
        write_checkpoint(run_dir_, contents);
        prune_checkpoints(run_dir_, keep_, contents.step);
      } catch (...) {
        error_ = std::current_exception();
      }
      busy_ = false;
    });
  } catch (const std::system_error& error) {
    busy_ = false;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw failure(
        "checkpoint: cannot start the writer thread: {}; lower the number of threads or raise the limit (ulimit -u)",
        error.what());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void CheckpointWriter::wait() {
  if (thread_.joinable()) thread_.join();
  if (std::exception_ptr error = std::exchange(error_, nullptr)) std::rethrow_exception(error);
}

}  // namespace bittern
