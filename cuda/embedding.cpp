// embedding: arguments for the kernels (embedding.cu).
#include "cuda/embedding.h"

#include "cuda/backend.h"
#include "cuda/op_number.h"
#include "cuda/rows_of.h"

namespace bittern::cuda {

void CudaBackend::do_embedding_forward(const EmbeddingForward& args) {
  cuda::embedding_forward({.out = rows_of(args.out),
                           .w = rows_of(args.w),
                           .tokens = args.tokens.as<std::int32_t>(),
                           .rows = args.out.rows(),
                           .vocabulary = args.w.rows(),
                           .cols = static_cast<int>(args.out.cols()),
                           .scale = args.scale,
                           .record = record_,
                           .op = op_number<EmbeddingForward>()},
                          stream());
  launched(args);
}

void CudaBackend::do_embedding_backward(const EmbeddingBackward& args) {
  cuda::embedding_backward({.dw = rows_of(args.dw),
                            .dout = rows_of(args.dout),
                            .tokens = args.tokens.as<std::int32_t>(),
                            .order = args.order.as<std::int32_t>(),
                            .rows = args.dout.rows(),
                            .vocabulary = args.dw.rows(),
                            .cols = static_cast<int>(args.dout.cols()),
                            .scale = args.scale},
                           stream());
  launched(args);
}

}  // namespace bittern::cuda
