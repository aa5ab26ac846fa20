// global_norm: what it checks and what it costs (bittern/ops.h).
#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const GlobalNorm& args) {
  Cost cost;
  for (const Tensor& gradient : args.gradients) cost.bytes += bytes_of(gradient);
  return cost;
}

void Backend::global_norm(const GlobalNorm& args) {
  Checked{args.name, "norm", args.norm}.of(DType::f32).vector(2);
  check(args.max_norm >= 0.0f, "{}: max_norm is {}; expected at least 0 (0: no clipping)", args.name, args.max_norm);
  for (const Tensor& gradient : args.gradients)
    Checked{args.name, "gradient", gradient}.of(DType::f32).vector(gradient.elements());
  const OpScope scope(args.name, cost_of(args));
  do_global_norm(args);
}

}  // namespace bittern
