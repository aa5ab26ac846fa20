// GradientBuckets: what is done with the gradients of a layer as soon as they are final, while backward goes on below it.
// They are added up over the ranks, and the squares that the norm is made of are taken while the gradients lie in cache.
#pragma once

#include <span>
#include <vector>

#include "bittern/communicator.h"
#include "bittern/layer_events.h"
#include "bittern/model.h"
#include "bittern/optimizer.h"
#include "bittern/plan.h"

namespace bittern {

class GradientBuckets final : public LayerEvents {
 public:
  /// The model tells it of its layers while it lives. `communicator`: null where there is one rank.
  GradientBuckets(Transformer& model, Optimizer& optimizer, const Arena& arena, Communicator* communicator);
  ~GradientBuckets() override { model_.set_events(nullptr); }
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// The micro-batch that follows is the last one of the step: gradients that are told from now on are final.
  void last_micro_batch() { last_ = true; }

  void need(int) override {}
  void done(int) override {}
  void gradients(int bucket) override;

 private:
  Transformer& model_;
  Optimizer& optimizer_;
  const Arena& arena_;
  Communicator* communicator_;
  std::vector<std::span<const Parameter>> buckets_;
  bool last_ = false;
};

}  // namespace bittern
