// Ticket: a point in the work that a back end was given. A back end takes work and returns before it is done; a ticket
// tells whether everything up to that point is done, and lets the host wait for it.
#pragma once

#include <cstdint>

namespace bittern {

struct Ticket {
  std::int64_t number = 0;  ///< counts up; 0: nothing to wait for
};

}  // namespace bittern
