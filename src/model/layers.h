// Layers: a whole model as its parts: the embedding, blocks, the final norm, the head.
#pragma once

#include <vector>

#include "bittern/model_spec.h"
#include "model/families.h"
#include "model/parameter_rows.h"
#include "model/stream.h"

namespace bittern {

using Block = std::vector<Part>;

struct Layers {
  /// Adds the rows of all parts, in the order of forward: with tied embeddings there is no lm_head.weight.
  Layers(const ModelSpec& spec, ParameterRows& rows);

  Weights embedding;  ///< (V,C)
  std::vector<Block> blocks;
  Stream final_norm;
  Weights head;  ///< (V,C); with tied embeddings the embedding
};

}  // namespace bittern
