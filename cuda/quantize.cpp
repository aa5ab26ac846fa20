// quantize: arguments for the kernel (quantize.cu).
#include "cuda/quantize.h"

#include "cuda/backend.h"
#include "cuda/rows_of.h"

namespace bittern::cuda {

void CudaBackend::do_quantize(const Quantize& args) {
  cuda::quantize(rows_of(args.q), rows_of(args.x), args.x.rows(), static_cast<int>(args.x.cols()), stream());
  launched(args);
}

}  // namespace bittern::cuda
