// decide_bucket: decides of the gradients that are final so far whether and how they are used, while backward still runs.
//   OVERWRITES skipped, clip and left_from; ACCUMULATES updates and means of the record.
#include <algorithm>

#include "ops/cpu/backend.h"
#include "ops/cpu/step_decision.h"
#include "ops/cpu/step_record_views.h"

namespace bittern::cpu {

void CpuBackend::do_decide_bucket(const DecideBucket& args) {
  StepRecord& record = record_at(args.record);
  // norm_of_parts has clipped by the norm so far. What the rest will bring is guessed: what it brought in earlier steps.
  const double usual = record.means.norm;
  if (args.max_norm > 0.0f && usual > 0.0)
    record.clip = std::min(record.clip, static_cast<float>(static_cast<double>(args.max_norm) / usual));
  if (args.first) {
    record.skipped = decision(record, args.deviations);
    if (record.skipped == Skipped::no) ++record.updates;
  } else if (record.skipped == Skipped::no && (!usable_norm(record) || record.fault != 0)) {
    record.skipped = Skipped::rest;
    record.left_from = args.bucket + 1;
  }
  if (args.last && record.skipped == Skipped::no) move_means(record);
}

}  // namespace bittern::cpu
