// cross_entropy: what it checks and what it costs (bittern/ops.h).
#include <cmath>
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const CrossEntropy& args) {
  return {.bytes = (args.backward ? 2 : 1) * bytes_of(args.logits)};
}

void Backend::cross_entropy(const CrossEntropy& args) {
  const std::int64_t R = args.logits.rows();
  Checked{args.name, "logits", args.logits}.act().matrix(R, args.logits.cols());
  Checked{args.name, "targets", args.targets}.of(DType::i32).vector(R);
  Checked{args.name, "loss", args.loss}.of(DType::f32).vector(R);
  Checked{args.name, "lse_squared", args.lse_squared}.of(DType::f32).vector(R);
  if (args.backward) Checked{args.name, "scale", args.scale}.of(DType::f32).vector(1);
  check(std::isfinite(args.softcap) && args.softcap >= 0.0f,
        "{}: the soft cap is {}; it must be finite and not negative", args.name, args.softcap);
  const OpScope scope(args.name, cost_of(args));
  do_cross_entropy(args);
}

}  // namespace bittern
