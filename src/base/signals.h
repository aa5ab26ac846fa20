// Signals: what asks a program to stop, and what must not end it.
//
//   INT (Ctrl-C), TERM, HUP (the terminal is gone), USR1, USR2 and XCPU (batch systems, before they kill)  ask for a
//       stop: the work ends at its next border and says so
//   a second Ctrl-C                              ends the process at once
//   PIPE, XFSZ                                   are never delivered: writing to a closed pipe, or beyond the limit on
//                                                the size of a file, is a write that fails, with a message
#pragma once

#include <string_view>

namespace bittern {

/// To be called once, at the beginning of main: PIPE and XFSZ end nothing.
void ignore_write_signals();

/// While it lives, the signals that ask for a stop set stop_requested() instead of ending the process. HUP stays ignored
/// where it was (nohup).
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
};

bool stop_requested();
/// "SIGTERM", ...: the signal that asked first; empty: none did.
std::string_view stop_signal();

}  // namespace bittern
