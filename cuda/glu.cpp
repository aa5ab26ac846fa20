// glu: arguments for the kernels (glu.cu).
#include "cuda/glu.h"

#include "cuda/backend.h"
#include "cuda/rows_of.h"

namespace bittern::cuda {

void CudaBackend::do_glu_forward(const GluForward& args) {
  cuda::glu_forward({.gate_up = rows_of(args.gate_up),
                     .out = rows_of(args.out),
                     .dout = {},
                     .rows = args.out.rows(),
                     .cols = static_cast<int>(args.out.cols()),
                     .activation = args.activation},
                    stream());
  launched(args);
}

void CudaBackend::do_glu_backward(const GluBackward& args) {
  cuda::glu_backward({.gate_up = rows_of(args.gate_up),
                      .out = rows_of(args.out),
                      .dout = rows_of(args.dout),
                      .rows = args.out.rows(),
                      .cols = static_cast<int>(args.out.cols()),
                      .activation = args.activation},
                     stream());
  launched(args);
}

}  // namespace bittern::cuda
