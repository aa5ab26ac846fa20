// linear: y = x w^T + bias, and its gradients, each one product of gemm.h, or forward of gemv.h where rows are few
// (then a row's bits are gemv's: what generation computes for a token is not bit for bit what training computes for
// it):
//   forward          y (N,O)  = x (N,I) w (O,I)^T + bias (O) f32 or none
//   backward_input   dx (N,I) = dy (N,O) w (O,I)
//   backward_weight  dw (O,I) f32 = or += dy^T (O,N) x (N,I)
// Matrices are f32 or bf16 in any mix. compute f32: products of fp32; bf16: operands rounded to bf16, summed in fp32.
// x and w may also be codes with a scale per row (stacks of several weights too): the product reads the codes exactly,
// and the scales multiply in fp32, the sums where they belong to rows or columns of the result (forward), else dy
// before it is rounded (w's in backward_input, x's in backward_weight).
#include "ops/cpu/backend.h"
#include "ops/cpu/gemm/gemm.h"
#include "ops/cpu/gemm/gemv.h"

namespace bittern::cpu {
namespace {

GemmMatrix operand(const Tensor& x, bool transposed) {
  return {.data = x.data,
          .dtype = x.dtype,
          .stride = x.row_stride,
          .transposed = transposed,
          .scales = is_quantized(x.dtype) ? x.scales : nullptr};
}

}  // namespace

void CpuBackend::do_linear_forward(const LinearForward& args) {
  const GemmArgs product{.m = args.x.rows(),
                         .n = args.w.rows(),
                         .k = args.x.cols(),
                         .a = operand(args.x, false),
                         .b = operand(args.w, true),
                         .c = args.y.data,
                         .c_dtype = args.y.dtype,
                         .c_stride = args.y.row_stride,
                         .accumulate = false,
                         .bias = args.bias ? args.bias.as<float>() : nullptr,
                         .compute = args.compute,
                         .workspace = gemm_workspace_.data()};
  if (gemv_takes(product.m, product.k))
    gemv(product);
  else
    gemm(product);
}

void CpuBackend::do_linear_backward_input(const LinearBackwardInput& args) {
  gemm({.m = args.dy.rows(),
        .n = args.w.cols(),
        .k = args.dy.cols(),
        .a = operand(args.dy, false),
        .b = operand(args.w, false),
        .c = args.dx.data,
        .c_dtype = args.dx.dtype,
        .c_stride = args.dx.row_stride,
        .accumulate = false,
        .bias = nullptr,
        .compute = args.compute,
        .workspace = gemm_workspace_.data()});
}

void CpuBackend::do_linear_backward_weight(const LinearBackwardWeight& args) {
  gemm({.m = args.dy.cols(),
        .n = args.x.cols(),
        .k = args.dy.rows(),
        .a = operand(args.dy, true),
        .b = operand(args.x, false),
        .c = args.dw.data,
        .c_dtype = args.dw.dtype,
        .c_stride = args.dw.row_stride,
        .accumulate = args.accumulate,
        .bias = nullptr,
        .compute = args.compute,
        .workspace = gemm_workspace_.data()});
}

}  // namespace bittern::cpu
