// DataCheck: the checksums of a run's data, read in the background while training goes on.
//
// Training begins at once. A thread reads the data beside it, and damage stops the run before its next step.
// A save waits until everything is read, but all saves together wait only some seconds. So with a small corpus no
// checkpoint has learned from damaged data, and a corpus of terabytes delays no save. If damage is found after a save
// that did not wait, the message warns that the run's checkpoints may have learned from it.
// In formats without checksums it looks for an id beyond the vocabulary. No step can have learned from one, so it stops
// the run but no save. Where files with and without checksums are read together, all that is found counts as damage.
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
  /// To be called before a save: returns when everything is read or patience has run out; throws damage.
  void wait_for_save();

 private:
  std::chrono::milliseconds patience_;
  bool saved_unread_ = false;
  std::atomic<bool> done_ = false, give_up_ = false;
  std::exception_ptr error_;  ///< written by the thread, read after it was joined
  bool is_damage_ =
      false;  ///< as `error_`: a file has a checksum, so it may be damage; else an id that no step has read
  std::thread thread_;
};

}  // namespace bittern
