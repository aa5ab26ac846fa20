// GatedMlp: the branch  out = [post-norm]([sub-norm](activation(gate) * up) Wdown^T),  gate_up = n [Wgate; Wup]^T.
//
//   n (N,C)   gate_up (N,2F) = [gate | up], one GEMM   out (N,C)
// Only gate_up is kept for backward: what Wdown reads is made of it again.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "model/activation_plan.h"
#include "model/parameter_rows.h"
#include "model/pass.h"
#include "model/post_norm.h"
#include "model/sub_norm.h"

namespace bittern {

struct GatedMlpData {
  std::int64_t hidden_size;        ///< C
  std::int64_t intermediate_size;  ///< F
  NormMath math;                   ///< of its norms
  Activation activation = Activation::silu;
  bool sub_norm = false;            ///< a norm of what Wdown reads
  std::string_view post_norm = {};  ///< Hugging Face's name of the weight of a norm of out; empty: none
};

class GatedMlp {
 public:
  GatedMlp(const GatedMlpData& data, LayerRows& rows);
  void plan(ActivationPlan& plan);

  void forward(const PartContext& c, const Pass& pass, Flow& flow, bool output_wanted) const;
  void backward(const PartContext& c, const Pass& pass, const BackwardFlow& flow) const;

  double attention_flops_per_token(std::int64_t) const { return 0; }

 private:
  struct Tensors {
    TensorId gate_up;        // (N,2F)
    TensorId h;              // (N,F) with a sub-norm: what it normalises
    LinearInput down_input;  // (N,F)
    TensorId out;            // (N,C) what joins the stream
  };
  const Tensors& tensors(const Pass& pass) const { return pass.generation ? generation_ : whole_; }
  Tensor down_input(const PartContext& c, const Pass& pass) const;
  Tensor make_down_input(const PartContext& c, const Pass& pass) const;

  GatedMlpData data_;
  Weights gate_up_, down_;
  std::optional<SubNorm> sub_norm_;
  std::optional<PostNorm> post_norm_;
  Tensors whole_, generation_;
  TensorId dh_, dsub_norm_;  // gradients: (N,F) each
};

}  // namespace bittern
