// begin_step: what it checks and what it costs (bittern/ops.h).
#include "bittern/backend.h"
#include "bittern/profile.h"
#include "bittern/step_record.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const BeginStep& args) {
  return {.bytes = bytes_of(args.record)};
}

void Backend::begin_step(const BeginStep& args) {
  Checked{args.name, "record", args.record}.of(DType::u8).vector(step_record_bytes);
  const OpScope scope(args.name, cost_of(args));
  do_begin_step(args);
}

}  // namespace bittern
