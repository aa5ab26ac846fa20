// add_losses: sums += the losses of a micro-batch, added up in double in the order of its rows.
//   Rows without a target hold 0 and change no sum. 12 bytes a row are read: a thread does it in the time that waking
//   others would take.
#include <algorithm>
#include <cstdint>
#include <numeric>

#include "ops/cpu/backend.h"
#include "ops/cpu/step_record_views.h"

namespace bittern::cpu {

void CpuBackend::do_add_losses(const AddLosses& args) {
  const std::int64_t N = args.loss.elements();
  const auto* const loss = args.loss.as<float>();
  const auto* const lse_squared = args.lse_squared.as<float>();
  const auto* const targets = args.targets.as<std::int32_t>();
  LossSums& sums = sums_at(args.sums);
  sums.loss += std::accumulate(loss, loss + N, 0.0);
  sums.lse_squared += std::accumulate(lse_squared, lse_squared + N, 0.0);
  sums.targets += std::count_if(targets, targets + N, [](std::int32_t id) { return id >= 0; });
}

}  // namespace bittern::cpu
