// embedding on plain pointers. The arguments' names and shapes are those of ops.h.
#pragma once

#include <cstdint>

#include "bittern/step_record.h"
#include "cuda/rows.h"

namespace bittern::cuda {

struct EmbeddingForwardArgs {
  Rows out, w;
  const std::int32_t* tokens;
  std::int64_t rows, vocabulary;
  int cols;
  float scale;
  StepRecord* record;  ///< for faults, or null
  std::uint32_t op;    ///< this op's number in it
};
void embedding_forward(const EmbeddingForwardArgs& args, cudaStream_t stream);

struct EmbeddingBackwardArgs {
  Rows dw, dout;
  const std::int32_t *tokens, *order;
  std::int64_t rows, vocabulary;
  int cols;
  float scale;
};
void embedding_backward(const EmbeddingBackwardArgs& args, cudaStream_t stream);

}  // namespace bittern::cuda
