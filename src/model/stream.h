// Stream: the residual stream between two branches, and its norm.
//
//   x = x of the Stream before + out of the branch between;   n = norm(x) w       (residual_rmsnorm)
//   backward: dx += the gradient that comes through the norm; what comes past it is in dx already
// The first Stream of a model has no branch before it: the embedding has written x. So has the first of a block that is
// recomputed, whose x was kept. The branch after a Stream reads n; the stream itself is never normalised.
#pragma once

#include <cstdint>
#include <string_view>

#include "model/activation_plan.h"
#include "model/parameter_rows.h"
#include "model/pass.h"

namespace bittern {

struct StreamData {
  std::string_view norm;     ///< Hugging Face's name of its weight: "input_layernorm.weight"
  std::string_view planned;  ///< what its tensors are called in the plan: "x0"
  std::int64_t hidden_size;  ///< C
  NormMath math;
  bool begins_block = false;  ///< recomputation of the block starts from its x
};

class Stream {
 public:
  Stream(const StreamData& data, LayerRows& rows);
  void plan(ActivationPlan& plan);

  void forward(const PartContext& c, const Pass& pass, Flow& flow, bool output_wanted) const;
  void backward(const PartContext& c, const Pass& pass, const BackwardFlow& flow) const;

  double attention_flops_per_token(std::int64_t) const { return 0; }
  Tensor x(const PartContext& c, const Pass& pass) const;  ///< (N,C) residual's type
  Tensor n(const PartContext& c, const Pass& pass) const;  ///< (N,C)

 private:
  struct Tensors {
    TensorId x, rstd;  // (N,C), (N): kept for backward
    LinearInput n;     // (N,C): the branch's linears read it in backward too
  };
  const Tensors& tensors(const Pass& pass) const { return pass.generation ? generation_ : whole_; }

  StreamData data_;
  Weights norm_;
  Tensors whole_, generation_;
};

}  // namespace bittern
