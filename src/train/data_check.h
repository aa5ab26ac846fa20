// DataCheck: the checksums of a run's data, read in the background while training goes on.
//
// The first step waits for nothing. Damage stops the run at its next step, and the first save waits until everything is
// read: no checkpoint ever holds what was learned from damaged data. Formats without checksums have nothing to read.
#pragma once

#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#include "bittern/token_file.h"

namespace bittern {

class DataCheck {
 public:
  /// Begins to read; the streams must outlive it.
  explicit DataCheck(std::vector<const TokenStream*> streams);
  /// Gives up what is not read yet.
  ~DataCheck();
  DataCheck(const DataCheck&) = delete;
  DataCheck& operator=(const DataCheck&) = delete;

  /// Throws what was found so far.
  void look();
  /// Returns when everything is read; throws what was found.
  void wait();

 private:
  std::atomic<bool> done_ = false, give_up_ = false;
  std::exception_ptr error_;  ///< written by the thread, read after it was joined
  std::thread thread_;
};

}  // namespace bittern
