// bias_backward: arguments and scratch for the kernels (bias.cu).
#include "cuda/bias.h"

#include "cuda/backend.h"
#include "cuda/column_sums.h"
#include "cuda/rows_of.h"

namespace bittern::cuda {

std::int64_t scratch_for(const BiasBackward& args) {
  return column_sum_parts(args.dy.rows()) * args.dy.cols() * size_of(DType::f32);
}

void CudaBackend::do_bias_backward(const BiasBackward& args) {
  cuda::bias_backward(args.dbias.as<float>(), static_cast<float*>(scratch(args)), rows_of(args.dy), args.dy.rows(),
                      static_cast<int>(args.dy.cols()), stream());
  launched(args);
}

}  // namespace bittern::cuda
