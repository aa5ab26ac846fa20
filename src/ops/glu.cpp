// glu: what it checks and what it costs (bittern/ops.h).
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const GluForward& args) {
  return {.bytes = bytes_of(args.out) + bytes_of(args.gate_up)};
}

Cost cost_of(const GluBackward& args) {
  return {.bytes = 2 * bytes_of(args.gate_up) + bytes_of(args.out) + bytes_of(args.dout)};
}

void Backend::glu_forward(const GluForward& args) {
  const std::int64_t N = args.out.rows(), F = args.out.cols();
  Checked{args.name, "out", args.out}.act_or_quantized().matrix(N, F);
  Checked{args.name, "gate_up", args.gate_up}.act().matrix(N, 2 * F);
  const OpScope scope(args.name, cost_of(args));
  do_glu_forward(args);
}

void Backend::glu_backward(const GluBackward& args) {
  const std::int64_t N = args.out.rows(), F = args.out.cols();
  Checked{args.name, "out", args.out}.act_or_quantized().matrix(N, F);
  Checked{args.name, "dout", args.dout}.act().matrix(N, F);
  Checked{args.name, "gate_up", args.gate_up}.act().matrix(N, 2 * F);
  check(args.dout.data != args.out.data || args.dout.dtype == args.out.dtype,
        "{}: dout in out's memory must have out's type {}, got {}", args.name, name(args.out.dtype),
        name(args.dout.dtype));
  const OpScope scope(args.name, cost_of(args));
  do_glu_backward(args);
}

}  // namespace bittern
