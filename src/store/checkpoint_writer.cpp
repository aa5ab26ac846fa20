// CheckpointWriter: one thread per piece of work, joined before the next one starts.
#include <cstdio>
#include <utility>

#include "base/background_thread.h"
#include "bittern/checkpoint.h"
#include "bittern/error.h"

namespace bittern {

void save_checkpoint(const std::string& run_dir, const CheckpointContents& contents, std::int64_t keep,
                     std::vector<std::int64_t> protected_steps) {
  for (const std::vector<NamedTensor>* tensors : {&contents.model, &contents.optimizer})
    if (const NamedTensor* bad = find_not_finite(*tensors))
      throw failure(
          "{}/checkpoints/{}: not saved: {} holds a number that is not finite: the run has diverged; earlier "
          "checkpoints are untouched",
          run_dir, checkpoint_name(contents.step), bad->name);
  write_checkpoint(run_dir, contents);
  protected_steps.push_back(contents.step);
  prune_checkpoints(run_dir, keep, protected_steps);
}

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

void CheckpointWriter::submit(CheckpointContents contents, std::vector<std::int64_t> protected_steps) {
  start([this, contents = std::move(contents), protected_steps = std::move(protected_steps)] {
    save_checkpoint(run_dir_, contents, keep_, protected_steps);
  });
}

void CheckpointWriter::prune(std::vector<std::int64_t> protected_steps) {
  start([this, protected_steps = std::move(protected_steps)] { prune_checkpoints(run_dir_, keep_, protected_steps); });
}

void CheckpointWriter::start(std::function<void()> work) {
  wait();
  busy_ = true;
  try {
    thread_ = background_thread("checkpoint", [this, work = std::move(work)] {
      try {
        work();
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
