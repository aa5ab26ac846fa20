// begin_step: the record forgets the sums and the decision of the step before; updates, means and a fault stay.
#include "ops/cpu/backend.h"
#include "ops/cpu/step_record_views.h"

namespace bittern::cpu {

void CpuBackend::do_begin_step(const BeginStep& args) {
  StepRecord& record = record_at(args.record);
  record.sums = {};
  record.skipped = Skipped::no;
  record.left_from = 0;
}

}  // namespace bittern::cpu
