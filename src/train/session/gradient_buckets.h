// GradientBuckets: what is done with the gradients of a layer as soon as they are final, while backward goes on below it.
// They are added up over the ranks. The squares that the norm is made of are taken while they lie in cache. With
// train.fused_backward the layer's weights are updated as well; then its gradients are needed no longer, and the memory
// serves the next layer's.
#pragma once

#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "bittern/communicator.h"
#include "bittern/layer_events.h"
#include "bittern/model.h"
#include "bittern/optimizer.h"
#include "bittern/plan.h"

namespace bittern {

/// Updates these parameters. The record says whether, and how their gradients are clipped.
using UpdateParameters = std::function<void(std::span<const Parameter>)>;

class GradientBuckets final : public LayerEvents {
 public:
  /// The model tells it of its layers while it lives. `communicator`: null where there is one rank.
  GradientBuckets(Transformer& model, Optimizer& optimizer, const Arena& arena, Communicator* communicator);
  ~GradientBuckets() override { model_.set_events(nullptr); }
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  // What is done in the passes that follow. At first: nothing, for other micro-batches of the step are to come.
  /// Squares are taken.
  void measure() { measures_ = true; }
  /// Squares are taken, and it is decided of each bucket by what is known of the norm until then; then it is updated.
  void measure_and_update(UpdateParameters update);
  /// Each bucket is updated. The norm is known, and it is decided of the step.
  void update(UpdateParameters update);

  void need(int) override {}
  void done(int) override {}
  void gradients(int bucket) override;

 private:
  Transformer& model_;
  Optimizer& optimizer_;
  const Arena& arena_;
  Communicator* communicator_;
  std::vector<std::span<const Parameter>> buckets_;
  bool measures_ = false;
  UpdateParameters update_;
};

}  // namespace bittern
