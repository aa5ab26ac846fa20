// Poison: a debugging aid against tensors that are used outside of their lives. Told the points of a step as they are
// reached, it fills with NaN what no living tensor occupies: all bytes are 0xff, which is a NaN in every float type, -1
// in integers and the last code of every codec. Whatever the plan says is dead cannot be read unseen then.
#pragma once

#include <cstdint>
#include <optional>

#include "bittern/plan.h"

namespace bittern {

class Poison {
 public:
  Poison(Backend& backend, const Arena& arena) : backend_(backend), arena_(arena) {}

  /// A tensor's content goes on if it lives at this point and at the one before. After a later point comes an earlier
  /// one: a new pass begins, and nothing goes on but what lives through the whole run. Scratch of the whole run (the
  /// workspace) is no op's for longer than the op, and is filled at every point.
  void reach(Point now);
  std::int64_t filled_bytes() const { return filled_; }  ///< so far

 private:
  void fill(char* first, std::int64_t bytes);

  Backend& backend_;
  const Arena& arena_;
  std::optional<Point> before_;
  std::int64_t filled_ = 0;
};

}  // namespace bittern
