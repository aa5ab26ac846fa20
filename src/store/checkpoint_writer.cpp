// CheckpointWriter: one thread per checkpoint, joined before the next one starts.
#include <cstdio>
#include <utility>

#include "base/background_thread.h"
#include "bittern/checkpoint.h"

namespace bittern {

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
  busy_ = true;
  try {
    thread_ = background_thread("checkpoint", [this, contents = std::move(contents)] {
      try {
        write_checkpoint(run_dir_, contents);
        prune_checkpoints(run_dir_, keep_, contents.step);
      } catch (...) {
        error_ = std::current_exception();
      }
      busy_ = false;
    });
  } catch (...) {
    busy_ = false;
    throw;
  }
}

void CheckpointWriter::wait() {
  if (thread_.joinable()) thread_.join();
  if (std::exception_ptr error = std::exchange(error_, nullptr)) std::rethrow_exception(error);
}

}  // namespace bittern
