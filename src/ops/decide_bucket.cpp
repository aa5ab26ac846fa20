// decide_bucket: what it checks and what it costs (bittern/ops.h).
#include "bittern/backend.h"
#include "bittern/profile.h"
#include "bittern/step_record.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const DecideBucket& args) {
  return {.bytes = bytes_of(args.record)};
}

void Backend::decide_bucket(const DecideBucket& args) {
  Checked{args.name, "record", args.record}.of(DType::u8).vector(step_record_bytes);
  check(args.bucket >= 0, "{}: bucket is {}; expected at least 0", args.name, args.bucket);
  check(args.max_norm >= 0.0f, "{}: max_norm is {}; expected at least 0 (0: no clipping)", args.name, args.max_norm);
  check(args.deviations >= 0.0f, "{}: deviations is {}; expected at least 0 (0: no guard)", args.name, args.deviations);
  const OpScope scope(args.name, cost_of(args));
  do_decide_bucket(args);
}

}  // namespace bittern
