// The gated MLP: its rows, what it keeps, forward and backward.
#include "model/gated_mlp.h"

#include <algorithm>

namespace bittern {

GatedMlp::GatedMlp(const GatedMlpData& data, LayerRows& rows) : data_(data) {
  const std::int64_t C = data.hidden_size, F = data.intermediate_size;
  gate_up_ = rows.matrices({{"mlp.gate_proj.weight", F}, {"mlp.up_proj.weight", F}}, C, Role::mlp_linear);
  if (data.sub_norm) sub_norm_.emplace("mlp.ffn_sub_norm.weight", F, data.math, rows);
  down_ = rows.matrices({{"mlp.down_proj.weight", C}}, F, Role::mlp_linear, Initial::joins_stream);
  if (!data.post_norm.empty()) post_norm_.emplace(data.post_norm, "mlp_out", C, data.math, rows);
}

void GatedMlp::plan(ActivationPlan& plan) {
  const std::int64_t F = data_.intermediate_size;
  Tensors& t = plan.generation() ? generation_ : whole_;
  t.gate_up = plan.kept("gate_up", Shape{plan.rows(), 2 * F}, plan.sizes().compute);
  t.down_input = plan.shared_input("down_input", F);
  if (sub_norm_) {
    t.h = plan.shared("h", F);
    sub_norm_->plan(plan);
  }
  if (post_norm_) post_norm_->plan(plan);
  t.out = plan.output("out", data_.hidden_size);
  if (!plan.has_backward()) return;
  dh_ = plan.gradient("dh", F);
  if (sub_norm_) dsub_norm_ = plan.gradient("dsub_norm", F);
}

Tensor GatedMlp::down_input(const PartContext& c, const Pass& pass) const {
  return c.rows(tensors(pass).down_input, pass.rows()).slice_cols(0, data_.intermediate_size);
}

Tensor GatedMlp::make_down_input(const PartContext& c, const Pass& pass) const {
  const Tensors& t = tensors(pass);
  const std::int64_t F = data_.intermediate_size;
  const Tensor input = down_input(c, pass), h = sub_norm_ ? c.matrix(t.h, pass.rows(), F) : input;
  c.backend.glu_forward({.out = h, .gate_up = c.matrix(t.gate_up, pass.rows(), 2 * F), .activation = data_.activation});
  if (sub_norm_) sub_norm_->forward(c, pass, input, h);
  return input;
}

void GatedMlp::forward(const PartContext& c, const Pass& pass, Flow& flow, bool output_wanted) const {
  const Tensors& t = tensors(pass);
  c.backend.linear_forward({.y = c.matrix(t.gate_up, pass.rows(), 2 * data_.intermediate_size),
                            .x = flow.n,
                            .w = c.weight(gate_up_),
                            .compute = c.compute});
  if (!output_wanted && !post_norm_) return;  // a post-norm's backward needs what the branch made
  flow.out = c.rows(t.out, pass.rows());
  c.backend.linear_forward({.y = post_norm_ ? post_norm_->made(c, pass) : flow.out,
                            .x = make_down_input(c, pass),
                            .w = c.weight(down_),
                            .compute = c.compute});
  if (post_norm_) post_norm_->forward(c, pass, flow.out);
}

void GatedMlp::backward(const PartContext& c, const Pass& pass, const BackwardFlow& flow) const {
  const Tensors& t = tensors(pass);
  const std::int64_t N = pass.rows(), F = data_.intermediate_size;
  const Tensor gate_up = c.matrix(t.gate_up, N, 2 * F), dh = c.matrix(dh_, N, F);
  const Tensor dout = post_norm_ ? post_norm_->backward(c, pass, flow.dx) : flow.dx;
  const auto down_gradient = [&](const Tensor& input) {
    c.backend.linear_backward_weight(
        {.dw = c.gradient(down_), .dy = dout, .x = input, .accumulate = flow.accumulate, .compute = c.compute});
  };
  if (sub_norm_) {
    const Tensor h = c.matrix(t.h, N, F), dinput = c.matrix(dsub_norm_, N, F);
    down_gradient(make_down_input(c, pass));
    c.backend.linear_backward_input({.dx = dinput, .dy = dout, .w = c.weight(down_), .compute = c.compute});
    sub_norm_->backward(c, pass, dh, dinput, h);
    c.backend.glu_backward({.gate_up = gate_up, .out = h, .dout = dh, .activation = data_.activation});
  } else {
    const Tensor input = down_input(c, pass);
    c.backend.linear_backward_input({.dx = dh, .dy = dout, .w = c.weight(down_), .compute = c.compute});
    // It leaves the gradient in gate_up, and makes what Wdown read once more.
    c.backend.glu_backward({.gate_up = gate_up, .out = input, .dout = dh, .activation = data_.activation});
    down_gradient(input);
  }
  c.backend.linear_backward_input({.dx = flow.dn, .dy = gate_up, .w = c.weight(gate_up_), .compute = c.compute});
  c.backend.linear_backward_weight(
      {.dw = c.gradient(gate_up_), .dy = gate_up, .x = flow.n, .accumulate = flow.accumulate, .compute = c.compute});
}

}  // namespace bittern
