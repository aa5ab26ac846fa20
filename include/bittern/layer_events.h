// LayerEvents: told by the model in which order layers are used, so that others can bring weights in time and send
// gradients away while backward still runs.
//
// Layers come in buckets: 0..L-1 are the blocks, L the final norm and an untied head, L+1 the embedding (which is the
// head too, where they are tied).
#pragma once

#include "bittern/parameter.h"

namespace bittern {

class LayerEvents {
 public:
  virtual ~LayerEvents() = default;
  virtual void need(int bucket) = 0;       ///< its weights are read from here on
  virtual void done(int bucket) = 0;       ///< and not any more, until the next need
  virtual void gradients(int bucket) = 0;  ///< this micro-batch has added its last to the bucket's gradients
};

/// The bucket of a parameter of a model with so many blocks.
inline int bucket_of(const ParameterSpec& parameter, int blocks) {
  if (parameter.layer >= 0) return parameter.layer;
  return parameter.role == Role::embedding ? blocks + 1 : blocks;
}
inline int bucket_count(int blocks) {
  return blocks + 2;
}

}  // namespace bittern
