// add_losses: what it checks and what it costs (bittern/ops.h).
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "bittern/step_record.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const AddLosses& args) {
  return {.bytes = bytes_of(args.loss) + bytes_of(args.lse_squared) + bytes_of(args.targets)};
}

void Backend::add_losses(const AddLosses& args) {
  const std::int64_t N = args.loss.elements();
  Checked{args.name, "sums", args.sums}.of(DType::u8).vector(loss_sums_bytes);
  Checked{args.name, "loss", args.loss}.of(DType::f32).vector(N);
  Checked{args.name, "lse_squared", args.lse_squared}.of(DType::f32).vector(N);
  Checked{args.name, "targets", args.targets}.of(DType::i32).vector(N);
  const OpScope scope(args.name, cost_of(args));
  do_add_losses(args);
}

}  // namespace bittern
