// SubNorm: a norm between what a branch computes and the branch's last projection (SubLN, as in BitNet): n = norm(x) w.
// Nothing of it is kept: forward is done again in backward.
#pragma once

#include <string_view>

#include "model/activation_plan.h"
#include "model/parameter_rows.h"
#include "model/pass.h"

namespace bittern {

class SubNorm {
 public:
  SubNorm(std::string_view name, std::int64_t cols, const NormMath& math, LayerRows& rows)
      : weight_(rows.norm(name, cols, math)), math_(math) {}

  void plan(ActivationPlan& plan) { (plan.generation() ? generation_rstd_ : rstd_) = plan.shared_column("sub_rstd"); }

  /// n = norm(x); n may be codes.
  void forward(const PartContext& c, const Pass& pass, const Tensor& n, const Tensor& x) const {
    c.backend.residual_rmsnorm_forward(
        {.n = n, .rstd = rstd(c, pass), .x = x, .w = c.weight(weight_), .eps = math_.eps, .offset = math_.offset});
  }

  /// dx = the gradient of x from dn, after forward on the same x.
  void backward(const PartContext& c, const Pass& pass, const Tensor& dx, const Tensor& dn, const Tensor& x) const {
    c.backend.residual_rmsnorm_backward({.dx = dx,
                                         .dw = c.gradient(weight_),
                                         .dn = dn,
                                         .sum = x,
                                         .rstd = rstd(c, pass),
                                         .w = c.weight(weight_),
                                         .offset = math_.offset,
                                         .overwrite = true});
  }

 private:
  Tensor rstd(const PartContext& c, const Pass& pass) const {
    return c.rows(pass.generation ? generation_rstd_ : rstd_, pass.rows());
  }

  Weights weight_;
  TensorId rstd_, generation_rstd_;
  NormMath math_;
};

}  // namespace bittern
