// Timeline: the points of a training step in the order in which the model passes them. The lives of tensors (plan.h) are
// told in these words, and nothing else makes a Point.
#pragma once

#include <cstdint>

#include "bittern/plan.h"

namespace bittern {

class Timeline {
 public:
  explicit Timeline(std::int64_t layers) : layers_(static_cast<int>(layers)) {}

  Point embedding() const { return Point(0); }                 ///< tokens become the residual stream
  Point forward(int layer) const { return Point(1 + layer); }  ///< of a block
  Point head() const { return Point(1 + layers_); }            ///< final norm, head and loss, and their backward
  Point backward(int layer) const { return Point(1 + 2 * layers_ - layer); }  ///< of a block, recomputation included
  Point embedding_gradient() const { return Point(2 + 2 * layers_); }
  Point generation() const { return Point(3 + 2 * layers_); }  ///< all of it: caches live from call to call

 private:
  int layers_;
};

}  // namespace bittern
