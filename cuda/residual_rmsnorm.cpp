// residual_rmsnorm: arguments and scratch for the kernels (residual_rmsnorm.cu).
#include "cuda/residual_rmsnorm.h"

#include "cuda/backend.h"
#include "cuda/column_sums.h"
#include "cuda/rows_of.h"

namespace bittern::cuda {

std::int64_t scratch_for(const ResidualRmsnormBackward& args) {
  return column_sum_parts(args.dx.rows()) * args.dx.cols() * size_of(DType::f32);
}

void CudaBackend::do_residual_rmsnorm_forward(const ResidualRmsnormForward& args) {
  // Without y, a sum that is x itself (or nothing) has nothing to store.
  const bool keep = args.y || (args.sum && args.sum.data != args.x.data);
  cuda::residual_rmsnorm_forward({.sum = rows_of(args.sum),
                                  .n = rows_of(args.n),
                                  .rstd = args.rstd.as<float>(),
                                  .x = rows_of(args.x),
                                  .y = rows_of(args.y),
                                  .w = rows_of(args.w),
                                  .rows = args.x.rows(),
                                  .cols = static_cast<int>(args.x.cols()),
                                  .eps = args.eps,
                                  .offset = args.offset,
                                  .keep = keep},
                                 stream());
  launched(args);
}

void CudaBackend::do_residual_rmsnorm_backward(const ResidualRmsnormBackward& args) {
  cuda::residual_rmsnorm_backward({.dx = rows_of(args.dx),
                                   .dw = args.dw.as<float>(),
                                   .partial = static_cast<float*>(scratch(args)),
                                   .dn = rows_of(args.dn),
                                   .sum = rows_of(args.sum),
                                   .rstd = args.rstd.as<float>(),
                                   .w = rows_of(args.w),
                                   .rows = args.dx.rows(),
                                   .cols = static_cast<int>(args.dx.cols()),
                                   .offset = args.offset,
                                   .overwrite = args.overwrite},
                                  stream());
  launched(args);
}

}  // namespace bittern::cuda
