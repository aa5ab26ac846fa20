// Signals: Ctrl-C and SIGTERM ask for a stop; a second Ctrl-C ends the process at once.
#pragma once

namespace bittern {

/// While it lives, SIGINT and SIGTERM set stop_requested() instead of ending the process.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
};

bool stop_requested();

}  // namespace bittern
