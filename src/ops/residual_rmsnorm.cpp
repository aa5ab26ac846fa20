// residual_rmsnorm: what it checks and what it costs (bittern/ops.h).
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const ResidualRmsnormForward& args) {
  // Without y, a sum that is x itself (or nothing) has nothing to store.
  const bool store = args.y || (args.sum && args.sum.data != args.x.data);
  return {.bytes = bytes_of(args.x) + bytes_of(args.y) + (store ? bytes_of(args.sum) : 0.0) + bytes_of(args.n)};
}

Cost cost_of(const ResidualRmsnormBackward& args) {
  return {.bytes = (args.overwrite ? 1 : 2) * bytes_of(args.dx) + bytes_of(args.dn) + bytes_of(args.sum)};
}

void Backend::residual_rmsnorm_forward(const ResidualRmsnormForward& args) {
  const std::int64_t N = args.x.rows(), C = args.x.cols();
  Checked{args.name, "x", args.x}.act().matrix(N, C);
  Checked{args.name, "n", args.n}.act_or_quantized().matrix(N, C);
  Checked{args.name, "rstd", args.rstd}.of(DType::f32).vector(N);
  Checked{args.name, "w", args.w}.of(DType::f32).vector(C);
  if (args.y) Checked{args.name, "y", args.y}.act().matrix(N, C);
  if (args.y || args.sum) Checked{args.name, "sum", args.sum}.act().matrix(N, C);
  check(!args.sum || args.sum.data != args.x.data || args.sum.dtype == args.x.dtype,
        "{}: sum in x's memory must have x's type {}, got {}", args.name, name(args.x.dtype), name(args.sum.dtype));
  const OpScope scope(args.name, cost_of(args));
  do_residual_rmsnorm_forward(args);
}

void Backend::residual_rmsnorm_backward(const ResidualRmsnormBackward& args) {
  const std::int64_t N = args.dx.rows(), C = args.dx.cols();
  Checked{args.name, "dx", args.dx}.act().matrix(N, C);
  Checked{args.name, "dn", args.dn}.act().matrix(N, C);
  Checked{args.name, "sum", args.sum}.act().matrix(N, C);
  Checked{args.name, "dw", args.dw}.of(DType::f32).vector(C);
  Checked{args.name, "rstd", args.rstd}.of(DType::f32).vector(N);
  Checked{args.name, "w", args.w}.of(DType::f32).vector(C);
  const OpScope scope(args.name, cost_of(args));
  do_residual_rmsnorm_backward(args);
}

}  // namespace bittern
