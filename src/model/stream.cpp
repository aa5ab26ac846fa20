// The residual stream and its norm: what they keep, forward and backward.
#include "model/stream.h"

#include <algorithm>
#include <string>

namespace bittern {

Stream::Stream(const StreamData& data, LayerRows& rows)
    : data_(data), norm_(rows.norm(data.norm, data.hidden_size, data.math)) {}

void Stream::plan(ActivationPlan& plan) {
  const std::string name(data_.planned);
  Tensors& t = plan.generation() ? generation_ : whole_;
  t.x = data_.begins_block ? plan.block_input(name, data_.hidden_size)
                           : plan.kept(name, Shape{plan.rows(), data_.hidden_size}, plan.sizes().residual);
  t.n = plan.kept_input(name + ".n", data_.hidden_size);
  t.rstd = plan.kept(name + ".rstd", Shape{plan.rows()}, DType::f32);
}

Tensor Stream::x(const PartContext& c, const Pass& pass) const {
  return c.rows(tensors(pass).x, pass.rows());
}

Tensor Stream::n(const PartContext& c, const Pass& pass) const {
  return c.rows(tensors(pass).n, pass.rows());
}

void Stream::forward(const PartContext& c, const Pass& pass, Flow& flow, bool) const {
  const Tensor sum = x(c, pass);
  flow.n = n(c, pass);
  c.backend.residual_rmsnorm_forward({.sum = sum,
                                      .n = flow.n,
                                      .rstd = c.rows(tensors(pass).rstd, pass.rows()),
                                      .x = flow.x,
                                      .y = flow.out,
                                      .w = c.weight(norm_),
                                      .eps = data_.math.eps,
                                      .offset = data_.math.offset});
  flow.x = sum;
  flow.out = {};
}

void Stream::backward(const PartContext& c, const Pass& pass, const BackwardFlow& flow) const {
  c.backend.residual_rmsnorm_backward({.dx = flow.dx,
                                       .dw = c.gradient(norm_),
                                       .dn = flow.dn,
                                       .sum = x(c, pass),
                                       .rstd = c.rows(tensors(pass).rstd, pass.rows()),
                                       .w = c.weight(norm_),
                                       .offset = data_.math.offset});
}

}  // namespace bittern
