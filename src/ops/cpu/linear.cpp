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
#include "bittern/profile.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/checked.h"
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

double flops(std::int64_t N, std::int64_t O, std::int64_t I) {
  return 2.0 * static_cast<double>(N) * static_cast<double>(O) * static_cast<double>(I);
}

void check_compute(std::string_view op, DType compute) {
  check(compute == DType::f32 || compute == DType::bf16, "{}: compute must be f32 or bf16, got {}", op, name(compute));
}

}  // namespace

void CpuBackend::linear_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, DType compute) {
  constexpr std::string_view op = "linear_forward";
  const std::int64_t N = x.rows(), I = x.cols(), O = w.rows();
  Checked{op, "x", x}.readable().matrix(N, I);
  Checked{op, "w", w}.readable().matrix(O, I);
  Checked{op, "y", y}.act().matrix(N, O);
  if (bias) Checked{op, "bias", bias}.of(DType::f32).vector(O);
  check_compute(op, compute);
  const OpScope scope(op, bytes_of(x) + bytes_of(w) + bytes_of(y) + bytes_of(bias), flops(N, O, I));
  const GemmArgs product{.m = N,
                         .n = O,
                         .k = I,
                         .a = operand(x, false),
                         .b = operand(w, true),
                         .c = y.data,
                         .c_dtype = y.dtype,
                         .c_stride = y.row_stride,
                         .accumulate = false,
                         .bias = bias ? bias.as<float>() : nullptr,
                         .compute = compute,
                         .workspace = gemm_workspace_.data()};
  if (gemv_takes(N, I))
    gemv(product);
  else
    gemm(product);
}

void CpuBackend::linear_backward_input(const Tensor& dx, const Tensor& dy, const Tensor& w, DType compute) {
  constexpr std::string_view op = "linear_backward_input";
  const std::int64_t N = dy.rows(), O = dy.cols(), I = w.cols();
  Checked{op, "dy", dy}.act().matrix(N, O);
  Checked{op, "w", w}.readable().matrix(O, I);
  Checked{op, "dx", dx}.act().matrix(N, I);
  check_compute(op, compute);
  const OpScope scope(op, bytes_of(dx) + bytes_of(dy) + bytes_of(w), flops(N, O, I));
  gemm({.m = N,
        .n = I,
        .k = O,
        .a = operand(dy, false),
        .b = operand(w, false),
        .c = dx.data,
        .c_dtype = dx.dtype,
        .c_stride = dx.row_stride,
        .accumulate = false,
        .bias = nullptr,
        .compute = compute,
        .workspace = gemm_workspace_.data()});
}

void CpuBackend::linear_backward_weight(const Tensor& dw, const Tensor& dy, const Tensor& x, bool accumulate,
                                        DType compute) {
  constexpr std::string_view op = "linear_backward_weight";
  const std::int64_t N = dy.rows(), O = dy.cols(), I = x.cols();
  Checked{op, "dy", dy}.act().matrix(N, O);
  Checked{op, "x", x}.readable().matrix(N, I);
  Checked{op, "dw", dw}.of(DType::f32).matrix(O, I);
  check_compute(op, compute);
  const OpScope scope(op, (accumulate ? 2 : 1) * bytes_of(dw) + bytes_of(dy) + bytes_of(x), flops(N, O, I));
  gemm({.m = O,
        .n = I,
        .k = N,
        .a = operand(dy, true),
        .b = operand(x, false),
        .c = dw.data,
        .c_dtype = dw.dtype,
        .c_stride = dw.row_stride,
        .accumulate = accumulate,
        .bias = nullptr,
        .compute = compute,
        .workspace = gemm_workspace_.data()});
}

}  // namespace bittern::cpu
