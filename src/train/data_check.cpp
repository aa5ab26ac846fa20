// Reads the data on a thread of its own, compares checksums, and stops training if it found damage.
#include "train/data_check.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/background_thread.h"
#include "bittern/error.h"

namespace bittern {

DataCheck::DataCheck(std::vector<const TokenStream*> streams, std::chrono::milliseconds patience)
    : patience_(patience) {
  thread_ = background_thread("checking the data", [this, streams = std::move(streams)] {
    for (const TokenStream* stream : streams) {
      try {
        if (!give_up_ && !error_) stream->verify_checksums([this] { return !give_up_; });
      } catch (...) {
        error_ = std::current_exception();
        is_damage_ = std::ranges::any_of(stream->parts(), &TokenPart::has_checksum);
      }
    }
    done_ = true;
  });
}

DataCheck::~DataCheck() {
  give_up_ = true;
  if (thread_.joinable()) thread_.join();
}

void DataCheck::look() {
  if (!done_) return;
  if (thread_.joinable()) thread_.join();
  if (!error_) return;
  if (!saved_unread_ || !is_damage_) std::rethrow_exception(error_);
  try {
    std::rethrow_exception(error_);
  } catch (const Error& error) {
    throw Error(error.exit_code(),
                std::string(error.what()) + "; this run's checkpoints may have learned from it: begin anew with --out");
  }
}

void DataCheck::wait_for_save() {
  constexpr std::chrono::milliseconds moment(5);
  for (; !done_ && patience_.count() > 0; patience_ -= moment) std::this_thread::sleep_for(moment);
  if (!done_ && !saved_unread_) {
    spdlog::info("saving before the checksums of all data are read; damage that they show later will stop the run");
    saved_unread_ = true;
  }
  if (!done_) return;
  if (thread_.joinable()) thread_.join();
  if (is_damage_) look();
}

}  // namespace bittern
