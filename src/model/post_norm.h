// PostNorm: a norm of what a branch made, before it joins the stream (Gemma): out = norm(made) (offset + w).
//
// What the branch made is kept from forward to backward, with its rstd; its normalised form is dead when it has joined.
#pragma once

#include <string>
#include <string_view>

#include "model/activation_plan.h"
#include "model/parameter_rows.h"
#include "model/pass.h"

namespace bittern {

class PostNorm {
 public:
  /// `planned`: what its tensors are called in the plan.
  PostNorm(std::string_view name, std::string_view planned, std::int64_t hidden_size, const NormMath& math,
           LayerRows& rows)
      : planned_(planned), hidden_size_(hidden_size), math_(math), weight_(rows.norm(name, hidden_size, math)) {}

  void plan(ActivationPlan& plan) {
    Tensors& t = plan.generation() ? generation_ : whole_;
    t.made = plan.kept(planned_, Shape{plan.rows(), hidden_size_}, plan.sizes().compute);
    t.rstd = plan.kept(planned_ + ".rstd", Shape{plan.rows()}, DType::f32);
    if (plan.has_backward()) dmade_ = plan.gradient("dmade", hidden_size_);
  }

  /// (N,C) where the branch writes what it makes.
  Tensor made(const PartContext& c, const Pass& pass) const { return c.rows(tensors(pass).made, pass.rows()); }

  /// out = norm(made).
  void forward(const PartContext& c, const Pass& pass, const Tensor& out) const {
    c.backend.residual_rmsnorm_forward({.n = out,
                                        .rstd = c.rows(tensors(pass).rstd, pass.rows()),
                                        .x = made(c, pass),
                                        .w = c.weight(weight_),
                                        .eps = math_.eps,
                                        .offset = math_.offset});
  }

  /// The gradient of `made` from that of out, which is left as it is.
  Tensor backward(const PartContext& c, const Pass& pass, const Tensor& dout) const {
    const Tensor dmade = c.matrix(dmade_, pass.rows(), hidden_size_);
    c.backend.residual_rmsnorm_backward({.dx = dmade,
                                         .dw = c.gradient(weight_),
                                         .dn = dout,
                                         .sum = made(c, pass),
                                         .rstd = c.rows(tensors(pass).rstd, pass.rows()),
                                         .w = c.weight(weight_),
                                         .offset = math_.offset,
                                         .overwrite = true});
    return dmade;
  }

 private:
  struct Tensors {
    TensorId made, rstd;  // (N,C), (N)
  };
  const Tensors& tensors(const Pass& pass) const { return pass.generation ? generation_ : whole_; }

  std::string planned_;
  std::int64_t hidden_size_;
  NormMath math_;
  Weights weight_;
  Tensors whole_, generation_;
  TensorId dmade_;  // (N,C): every branch with a post-norm uses it in turn
};

}  // namespace bittern
