// embedding: what it checks and what it costs (bittern/ops.h). Backward reads and writes the rows of dw that it adds to.
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "bittern/token_order.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const EmbeddingForward& args) {
  return {.bytes = bytes_of(args.out) + static_cast<double>(args.out.rows() * row_bytes(args.w.dtype, args.w.cols()))};
}

Cost cost_of(const EmbeddingBackward& args) {
  return {.bytes = bytes_of(args.dout) + static_cast<double>(2 * args.dout.elements() * size_of(DType::f32))};
}

void Backend::embedding_forward(const EmbeddingForward& args) {
  const std::int64_t N = args.out.rows(), C = args.out.cols();
  Checked{args.name, "out", args.out}.act().matrix(N, C);
  Checked{args.name, "w", args.w}.readable().matrix(args.w.rows(), C);
  Checked{args.name, "tokens", args.tokens}.of(DType::i32).vector(N);
  const OpScope scope(args.name, cost_of(args));
  do_embedding_forward(args);
}

void Backend::embedding_backward(const EmbeddingBackward& args) {
  const std::int64_t N = args.dout.rows(), C = args.dout.cols();
  Checked{args.name, "dout", args.dout}.act().matrix(N, C);
  Checked{args.name, "dw", args.dw}.of(DType::f32).matrix(args.dw.rows(), C);
  Checked{args.name, "tokens", args.tokens}.of(DType::i32).vector(N);
  Checked{args.name, "order", args.order}.of(DType::i32).vector(token_order_size(N));
  const OpScope scope(args.name, cost_of(args));
  do_embedding_backward(args);
}

}  // namespace bittern
