// decide_step: what it checks and what it costs (bittern/ops.h).
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "bittern/step_record.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const DecideStep& args) {
  return {.bytes = bytes_of(args.record) + bytes_of(args.shares)};
}

void Backend::decide_step(const DecideStep& args) {
  Checked{args.name, "record", args.record}.of(DType::u8).vector(step_record_bytes);
  if (args.shares)
    Checked{args.name, "shares", args.shares}
        .of(DType::u8)
        .matrix(args.shares.rows(), loss_sums_bytes)
        .vector(args.shares.elements());
  check(args.deviations >= 0.0, "{}: deviations is {}; expected at least 0 (0: no guard)", args.name, args.deviations);
  const OpScope scope(args.name, cost_of(args));
  do_decide_step(args);
}

}  // namespace bittern
