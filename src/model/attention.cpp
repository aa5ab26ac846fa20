// The attention branch: its rows, what it keeps, forward and backward.
#include "model/attention.h"

#include <algorithm>

namespace bittern {

Attention::Attention(const AttentionData& data, LayerRows& rows) : data_(data) {
  const std::int64_t C = data.hidden_size, D = data.head_dim, Q = data.query_cols(), KV = data.kv_heads * D;
  qkv_ = rows.matrices({{"self_attn.q_proj.weight", Q, data.heads},
                        {"self_attn.k_proj.weight", KV, data.kv_heads},
                        {"self_attn.v_proj.weight", KV, data.kv_heads}},
                       C, Role::attention_linear);
  if (data.bias)
    bias_ = rows.biases({{"self_attn.q_proj.bias", Q}, {"self_attn.k_proj.bias", KV}, {"self_attn.v_proj.bias", KV}});
  if (data.qk_norm) {
    q_norm_ = rows.norm("self_attn.q_norm.weight", D, data.math);
    k_norm_ = rows.norm("self_attn.k_norm.weight", D, data.math);
  }
  if (data.sub_norm) sub_norm_.emplace("self_attn.attn_sub_norm.weight", Q, data.math, rows);
  o_ = rows.matrices({{"self_attn.o_proj.weight", C}}, Q, Role::attention_linear, Initial::joins_stream);
  if (!data.post_norm.empty()) post_norm_.emplace(data.post_norm, "attention_out", C, data.math, rows);
}

void Attention::plan(ActivationPlan& plan) {
  const std::int64_t N = plan.rows(), Q = data_.query_cols();
  const DType act = plan.sizes().compute;
  Tensors& t = plan.generation() ? generation_ : whole_;
  t.qkv = plan.kept("qkv", Shape{N, data_.packed()}, act);
  if (data_.qk_norm) {
    t.qkv_raw = plan.kept("qkv_raw", Shape{N, data_.packed()}, act);
    t.q_norm_rstd = plan.kept("q_norm_rstd", Shape{N, data_.heads + data_.kv_heads}, DType::f32);
  }
  t.attention = plan.kept("attention", Shape{N, Q}, act);
  if (!plan.generation())
    t.lse = plan.kept("lse", Shape{plan.sizes().batch, data_.heads, plan.sizes().sequence_length}, DType::f32);
  const bool made = sub_norm_ || plan.quantizes();
  t.o_input = made ? plan.shared_input("o_input", Q) : LinearInput{t.attention, {}};
  if (sub_norm_) sub_norm_->plan(plan);
  if (post_norm_) post_norm_->plan(plan);
  t.out = plan.output("out", data_.hidden_size);
  if (!plan.has_backward()) return;
  dattention_ = plan.gradient("dattention", Q);
  dqkv_ = plan.gradient("dqkv", data_.packed());
  if (sub_norm_) dsub_norm_ = plan.gradient("dsub_norm", Q);
}

void Attention::plan_positions(Plan& plan, RopeTables& ropes, std::int64_t positions) {
  rope_ = ropes.plan(plan, data_.rope, positions, data_.head_dim);
}

void Attention::plan_cache(ActivationPlan& plan, std::int64_t length) {
  const Shape shape{length, data_.kv_heads * data_.head_dim};
  generation_.k_cache = plan.cache("k_cache", shape);
  generation_.v_cache = plan.cache("v_cache", shape);
}

double Attention::attention_flops_per_token(std::int64_t sequence_length) const {
  const auto T = static_cast<double>(sequence_length), W = static_cast<double>(data_.scores.window);
  const double keys = W > 0 && W < T ? W - W * W / (2 * T) : T / 2;  // that a query sees, on average
  return 12.0 * keys * static_cast<double>(data_.query_cols());
}

AttentionShape Attention::shape(const Pass& pass) const {
  return {.batch = pass.batch,
          .sequence_length = pass.sequence_length,
          .heads = data_.heads,
          .kv_heads = data_.kv_heads,
          .head_dim = data_.head_dim};
}

QkNormRopeForward Attention::rope_args(const PartContext& c, const Pass& pass) const {
  const Tensors& t = tensors(pass);
  return {.shape = shape(pass),
          .qkv = c.matrix(t.qkv, pass.rows(), data_.packed()),
          .qkv_raw = data_.qk_norm ? c.matrix(t.qkv_raw, pass.rows(), data_.packed()) : Tensor(),
          .q_norm = c.weight(q_norm_),
          .k_norm = c.weight(k_norm_),
          .q_norm_rstd = c.rows(t.q_norm_rstd, pass.rows()),
          .rope = c.arena.view(rope_),
          .first_position = pass.first_position,
          .eps = data_.math.eps,
          .offset = data_.math.offset};
}

Tensor Attention::make_o_input(const PartContext& c, const Pass& pass) const {
  const std::int64_t N = pass.rows(), Q = data_.query_cols();
  const Tensor attention = c.matrix(tensors(pass).attention, N, Q);
  const Tensor input = c.rows(tensors(pass).o_input, N).slice_cols(0, Q);
  if (sub_norm_)
    sub_norm_->forward(c, pass, input, attention);
  else if (input.data != attention.data)
    c.backend.quantize({.q = input, .x = attention});
  return input;
}

void Attention::forward(const PartContext& c, const Pass& pass, Flow& flow, bool output_wanted) const {
  const Tensors& t = tensors(pass);
  const QkNormRopeForward rope = rope_args(c, pass);
  const Tensor attention = c.matrix(t.attention, pass.rows(), data_.query_cols());
  c.backend.linear_forward({.y = data_.qk_norm ? rope.qkv_raw : rope.qkv,
                            .x = flow.n,
                            .w = c.weight(qkv_),
                            .bias = c.weight(bias_),
                            .compute = c.compute});
  c.backend.qk_norm_rope_forward(rope);
  if (pass.generation)
    c.backend.attention_cached({.shape = shape(pass),
                                .scores = data_.scores,
                                .qkv = rope.qkv,
                                .out = attention,
                                .k_cache = c.arena.view(t.k_cache),
                                .v_cache = c.arena.view(t.v_cache),
                                .first_position = pass.first_position});
  else
    c.backend.attention_forward(
        {.shape = shape(pass), .scores = data_.scores, .qkv = rope.qkv, .out = attention, .lse = c.arena.view(t.lse)});
  if (!output_wanted && !post_norm_) return;  // a post-norm's backward needs what the branch made
  flow.out = c.rows(t.out, pass.rows());
  c.backend.linear_forward({.y = post_norm_ ? post_norm_->made(c, pass) : flow.out,
                            .x = make_o_input(c, pass),
                            .w = c.weight(o_),
                            .compute = c.compute});
  if (post_norm_) post_norm_->forward(c, pass, flow.out);
}

void Attention::backward(const PartContext& c, const Pass& pass, const BackwardFlow& flow) const {
  const Tensors& t = tensors(pass);
  const std::int64_t N = pass.rows(), Q = data_.query_cols();
  const Tensor attention = c.matrix(t.attention, N, Q), dattention = c.matrix(dattention_, N, Q);
  const Tensor dinput = sub_norm_ ? c.matrix(dsub_norm_, N, Q) : dattention;
  const Tensor dqkv = c.matrix(dqkv_, N, data_.packed());
  const Tensor dout = post_norm_ ? post_norm_->backward(c, pass, flow.dx) : flow.dx;
  c.backend.linear_backward_weight({.dw = c.gradient(o_),
                                    .dy = dout,
                                    .x = make_o_input(c, pass),
                                    .accumulate = flow.accumulate,
                                    .compute = c.compute});
  c.backend.linear_backward_input({.dx = dinput, .dy = dout, .w = c.weight(o_), .compute = c.compute});
  if (sub_norm_) sub_norm_->backward(c, pass, dattention, dinput, attention);
  const QkNormRopeForward rope = rope_args(c, pass);
  c.backend.attention_backward({.shape = shape(pass),
                                .scores = data_.scores,
                                .qkv = rope.qkv,
                                .out = attention,
                                .lse = c.arena.view(t.lse),
                                .dqkv = dqkv,
                                .dout = dattention});
  c.backend.qk_norm_rope_backward({.shape = rope.shape,
                                   .dqkv = dqkv,
                                   .dq_norm = c.gradient(q_norm_),
                                   .dk_norm = c.gradient(k_norm_),
                                   .qkv_raw = rope.qkv_raw,
                                   .q_norm = rope.q_norm,
                                   .k_norm = rope.k_norm,
                                   .q_norm_rstd = rope.q_norm_rstd,
                                   .rope = rope.rope,
                                   .first_position = rope.first_position,
                                   .offset = rope.offset});
  if (bias_) c.backend.bias_backward({.dbias = c.gradient(bias_), .dy = dqkv});
  c.backend.linear_backward_input({.dx = flow.dn, .dy = dqkv, .w = c.weight(qkv_), .compute = c.compute});
  c.backend.linear_backward_weight(
      {.dw = c.gradient(qkv_), .dy = dqkv, .x = flow.n, .accumulate = flow.accumulate, .compute = c.compute});
}

}  // namespace bittern
