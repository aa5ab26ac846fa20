// linear: which operand lies how, and where the scales of codes go (ops.h), for the kernel that takes any (linear_any.cu).
#include "cuda/backend.h"
#include "cuda/linear_any.h"
#include "cuda/rows_of.h"

namespace bittern::cuda {
namespace {

const float* scales_of(const Tensor& x) {
  return is_quantized(x.dtype) ? x.scales : nullptr;
}

}  // namespace

void CudaBackend::do_linear_forward(const LinearForward& args) {
  linear_any({.a = {.x = rows_of(args.x), .transposed = false, .scales = scales_of(args.x)},
              .b = {.x = rows_of(args.w), .transposed = false, .scales = scales_of(args.w)},
              .out = rows_of(args.y),
              .bias = args.bias ? args.bias.as<float>() : nullptr,
              .rows = args.y.rows(),
              .cols = args.y.cols(),
              .depth = args.x.cols(),
              .bf16_operands = args.compute == DType::bf16,
              .accumulate = false},
             stream());
  launched(args);
}

void CudaBackend::do_linear_backward_input(const LinearBackwardInput& args) {
  linear_any({.a = {.x = rows_of(args.dy), .transposed = false, .factors = scales_of(args.w)},
              .b = {.x = rows_of(args.w), .transposed = true},
              .out = rows_of(args.dx),
              .bias = nullptr,
              .rows = args.dx.rows(),
              .cols = args.dx.cols(),
              .depth = args.dy.cols(),
              .bf16_operands = args.compute == DType::bf16,
              .accumulate = false},
             stream());
  launched(args);
}

void CudaBackend::do_linear_backward_weight(const LinearBackwardWeight& args) {
  linear_any({.a = {.x = rows_of(args.dy), .transposed = true, .factors = scales_of(args.x)},
              .b = {.x = rows_of(args.x), .transposed = true},
              .out = rows_of(args.dw),
              .bias = nullptr,
              .rows = args.dw.rows(),
              .cols = args.dw.cols(),
              .depth = args.dy.rows(),
              .bf16_operands = args.compute == DType::bf16,
              .accumulate = args.accumulate},
             stream());
  launched(args);
}

}  // namespace bittern::cuda
