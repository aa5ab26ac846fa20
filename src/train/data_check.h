// DataCheck: the checksums of a run's data, read in the background while training goes on.
//
// The first step waits for nothing. Damage stops the run at its next step. Saves wait until everything is read, but for
// some seconds in all: what is read by then teaches no checkpoint anything wrong, and a corpus of terabytes holds up no
// save. Damage that is found after such a save is told with the warning that the saves have learned from it. Formats
// without checksums have nothing to read.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <thread>
#include <vector>

#include "bittern/token_file.h"

namespace bittern {

class DataCheck {
 public:
  /// Begins to read; the streams must outlive it.
  explicit DataCheck(std::vector<const TokenStream*> streams,
                     std::chrono::milliseconds patience = std::chrono::seconds(5));
  /// Gives up what is not read yet.
  ~DataCheck();
  DataCheck(const DataCheck&) = delete;
  DataCheck& operator=(const DataCheck&) = delete;

  /// Throws what was found so far.
  void look();
  /// To be called before a save: returns when everything is read or patience has run out; throws what was found.
  void wait_for_save();

 private:
  std::chrono::milliseconds patience_;
  bool saved_unread_ = false;
  std::atomic<bool> done_ = false, give_up_ = false;
  std::exception_ptr error_;  ///< written by the thread, read after it was joined
  std::thread thread_;
};

}  // namespace bittern
