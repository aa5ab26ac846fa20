// Transformer::Body: the parts of a model and the tensors between them (transformer.cpp plans them, passes.cpp runs
// them).
#pragma once

#include <functional>
#include <span>

#include "bittern/layer_events.h"
#include "bittern/model.h"
#include "model/head.h"
#include "model/layers.h"
#include "model/pass.h"
#include "model/rope_tables.h"
#include "model/timeline.h"

namespace bittern {

struct Transformer::Body {
  Body(Backend& backend, const ModelSpec& spec, const ModelOptions& options, Plan& plan);

  Backend& backend;
  ModelSpec spec;
  ModelOptions options;
  Timeline timeline;
  ParameterRows parameters;
  Layers layers;
  Head head;
  RopeTables ropes;
  TensorId tokens, generation_tokens;  // (B,T), (rows of a pass) i32
  TensorId order;                      // (2 B T + 2) i32 in training: token_order of tokens
  TensorId dx, dn;                     // (N,C) gradients of the residual stream, and of what a branch or the head read
  const Arena* arena = nullptr;
  LayerEvents* events = nullptr;
  std::function<void(Point)> on_point;

  int layer_count() const { return static_cast<int>(layers.blocks.size()); }
  PartContext context() const {
    return {.backend = backend, .arena = *arena, .parameters = parameters, .compute = options.compute};
  }
  Pass whole_pass() const { return {.batch = options.batch, .sequence_length = options.sequence_length}; }

  void plan_parts(ActivationPlan& plan);
  Lifetime gradient_life(const ParameterSpec& parameter) const;
  /// Sends tokens of a pass to the back end. No op reads ids first, so ids outside the vocabulary are refused here.
  void upload(TensorId to, std::span<const std::int32_t> ids) const;
  /// From the tokens to the final norm's n (N,C).
  Tensor forward(const Pass& pass);
  /// Of the parameters of a layer (-1: of the others), what backward adds to element by element.
  void zero_gradients(int layer, Role role) const;
  void backward(const BackwardFlow& flow);
  void block_forward(int layer, const Pass& pass, Flow& flow, bool recomputing) const;
  void block_backward(int layer, BackwardFlow flow) const;
  /// The first Stream of the first block: the embedding writes its x.
  const Stream& first_stream(int layer) const {
    return std::get<Stream>(layers.blocks[static_cast<std::size_t>(layer)].front());
  }

  void reach(Point point) const {
    if (on_point) on_point(point);
  }
  int head_bucket() const { return layer_count(); }
  int embedding_bucket() const { return layer_count() + 1; }
  void need(int bucket) const {
    if (events) events->need(bucket);
  }
  void done(int bucket) const {
    if (events) events->done(bucket);
  }
  void gradients(int bucket) const {
    if (events) events->gradients(bucket);
  }
  /// The buckets that the final norm and the head lie in.
  void need_head() const;
  void done_head() const;
};

}  // namespace bittern
