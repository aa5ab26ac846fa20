// decide_step: adds the shares' sums, decides whether the update is made, and moves the running means where it is.
//   OVERWRITES skipped; ACCUMULATES sums, updates and means of the record.
#include <cstdint>

#include "bittern/step_decision.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/step_record_views.h"

namespace bittern::cpu {
void CpuBackend::do_decide_step(const DecideStep& args) {
  StepRecord& record = record_at(args.record);
  for (std::int64_t share = 0; share < args.shares.rows() && args.shares; ++share) {
    const LossSums& other = sums_at(args.shares.slice_rows(share, 1));
    record.sums.loss += other.loss;
    record.sums.lse_squared += other.lse_squared;
    record.sums.targets += other.targets;
  }
  record.skipped = decision(record, args.deviations);
  if (record.skipped != Skipped::no) return;
  ++record.updates;
  move_means(record);
}

}  // namespace bittern::cpu
