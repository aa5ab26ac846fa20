// linear and its gradients: what they check and what they cost (bittern/ops.h).
#include <cstdint>
#include <string_view>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {
namespace {

double product_flops(std::int64_t N, std::int64_t O, std::int64_t I) {
  return 2.0 * static_cast<double>(N) * static_cast<double>(O) * static_cast<double>(I);
}

void check_compute(std::string_view op, DType compute) {
  check(compute == DType::f32 || compute == DType::bf16, "{}: compute must be f32 or bf16, got {}", op, name(compute));
}

}  // namespace

Cost cost_of(const LinearForward& args) {
  return {.bytes = bytes_of(args.x) + bytes_of(args.w) + bytes_of(args.y) + bytes_of(args.bias),
          .flops = product_flops(args.x.rows(), args.w.rows(), args.x.cols())};
}

Cost cost_of(const LinearBackwardInput& args) {
  return {.bytes = bytes_of(args.dx) + bytes_of(args.dy) + bytes_of(args.w),
          .flops = product_flops(args.dy.rows(), args.dy.cols(), args.w.cols())};
}

Cost cost_of(const LinearBackwardWeight& args) {
  return {.bytes = (args.accumulate ? 2 : 1) * bytes_of(args.dw) + bytes_of(args.dy) + bytes_of(args.x),
          .flops = product_flops(args.dy.rows(), args.dy.cols(), args.x.cols())};
}

void Backend::linear_forward(const LinearForward& args) {
  const std::int64_t N = args.x.rows(), I = args.x.cols(), O = args.w.rows();
  Checked{args.name, "x", args.x}.readable().matrix(N, I);
  Checked{args.name, "w", args.w}.readable().matrix(O, I);
  Checked{args.name, "y", args.y}.act().matrix(N, O);
  if (args.bias) Checked{args.name, "bias", args.bias}.of(DType::f32).vector(O);
  check_compute(args.name, args.compute);
  const OpScope scope(args.name, cost_of(args));
  do_linear_forward(args);
}

void Backend::linear_backward_input(const LinearBackwardInput& args) {
  const std::int64_t N = args.dy.rows(), O = args.dy.cols(), I = args.w.cols();
  Checked{args.name, "dy", args.dy}.act().matrix(N, O);
  Checked{args.name, "w", args.w}.readable().matrix(O, I);
  Checked{args.name, "dx", args.dx}.act().matrix(N, I);
  check_compute(args.name, args.compute);
  const OpScope scope(args.name, cost_of(args));
  do_linear_backward_input(args);
}

void Backend::linear_backward_weight(const LinearBackwardWeight& args) {
  const std::int64_t N = args.dy.rows(), O = args.dy.cols(), I = args.x.cols();
  Checked{args.name, "dy", args.dy}.act().matrix(N, O);
  Checked{args.name, "x", args.x}.readable().matrix(N, I);
  Checked{args.name, "dw", args.dw}.of(DType::f32).matrix(O, I);
  check_compute(args.name, args.compute);
  const OpScope scope(args.name, cost_of(args));
  do_linear_backward_weight(args);
}

}  // namespace bittern
