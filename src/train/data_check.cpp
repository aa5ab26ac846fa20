#include "train/data_check.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "train/background_thread.h"

namespace bittern {

DataCheck::DataCheck(std::vector<const TokenStream*> streams) {
  thread_ = background_thread("checking the data", [this, streams = std::move(streams)] {
    try {
      for (const TokenStream* stream : streams) stream->verify_checksums([this] { return !give_up_; });
    } catch (...) {
      error_ = std::current_exception();
    }
    done_ = true;
  });
}

DataCheck::~DataCheck() {
  give_up_ = true;
  if (thread_.joinable()) thread_.join();
}

void DataCheck::look() {
  if (done_) wait();
}

void DataCheck::wait() {
  if (!done_) spdlog::info("the first save waits until the checksums of the data are read");
  if (thread_.joinable()) thread_.join();
  if (error_) std::rethrow_exception(error_);
}

}  // namespace bittern
