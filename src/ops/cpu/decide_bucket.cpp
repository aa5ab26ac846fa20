// decide_bucket: decides of the gradients that are final so far whether and how they are used, while backward still runs.
//   OVERWRITES skipped, clip and left_from; ACCUMULATES updates and means of the record.
#include "bittern/step_decision.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/step_record_views.h"

namespace bittern::cpu {

void CpuBackend::do_decide_bucket(const DecideBucket& args) {
  decide_bucket_of(record_at(args.record), args.bucket, args.first, args.last, args.max_norm, args.deviations);
}

}  // namespace bittern::cpu
