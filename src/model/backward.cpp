// The backward pass, block by block in reverse. dx is the gradient of the residual stream: it flows through every block
// in place, and each norm adds its part. A linear's weight gradient is overwritten by the first micro-batch of a step
// and added to by the others; what is accumulated element by element (norms, biases, an untied embedding) is zeroed
// before the first.
#include "bittern/model.h"

namespace bittern {

void Transformer::forward_backward(const MicroBatch& batch, const Tensor& sums, bool first) {
  check(options_.training, "model: planned without gradients");
  if (first)
    for (const Parameter& parameter : parameters_)
      if (parameter.spec.role == Role::norm || (parameter.spec.role == Role::embedding && !spec_.tie_word_embeddings))
        backend_.zero({.x = arena_->view(parameter.gradient)});

  upload(batch.tokens, batch.targets);
  forward_to_final_norm(full_pass());
  head(batch.total_targets, sums, true, !first);

  const Tensor dx = arena_->view(dx_), dn = arena_->view(dn_);
  backend_.zero({.x = dx});
  backend_.residual_rmsnorm_backward({.dx = dx,
                                      .dw = gradient(final_norm_),
                                      .dn = dn,
                                      .sum = arena_->view(final_.x),
                                      .rstd = arena_->view(final_.rstd),
                                      .w = weight(final_norm_)});
  for (int layer = static_cast<int>(spec_.num_hidden_layers) - 1; layer >= 0; --layer) block_backward(layer, !first);
  Tensor ids = arena_->view(tokens_);
  ids.shape = Shape{full_pass().rows()};
  backend_.embedding_backward({.dw = gradient(embedding_), .dout = dx, .tokens = ids});
}

void Transformer::sub_norm_backward(const Tensor& dx, const Tensor& dn, TensorId x, TensorId rstd,
                                    std::int32_t weight_of) {
  backend_.zero({.x = dx});
  backend_.residual_rmsnorm_backward({.dx = dx,
                                      .dw = gradient(weight_of),
                                      .dn = dn,
                                      .sum = arena_->view(x),
                                      .rstd = arena_->view(rstd),
                                      .w = weight(weight_of)});
}

void Transformer::block_backward(int layer, bool accumulate) {
  const Pass pass = full_pass();
  const BlockWeights& w = weights_[static_cast<std::size_t>(layer)];
  const BlockActivations a = block(layer);
  if (options_.recompute_blocks) block_forward(layer, a, pass, true);

  const DType compute = options_.compute;
  const Tensor dx = arena_->view(dx_), dn = arena_->view(dn_), dh = arena_->view(dh_);
  const Tensor dattention = arena_->view(datt_), dqkv = arena_->view(dqkv_);
  const Tensor x0 = arena_->view(a.x0), x1 = arena_->view(a.x1);
  const std::int64_t N = pass.rows();
  const Tensor attention = arena_->view(a.attention), gate_up = arena_->view(a.gate_up);

  // MLP: x1 + down([sub-norm](glu(gate_up(norm(x1)))))
  if (spec_.sub_norm) {
    const Tensor dh_n = arena_->view(dsub_norm_).slice_cols(0, dh.cols());
    backend_.linear_backward_weight({.dw = gradient(w.down),
                                     .dy = dx,
                                     .x = make_down_input(layer, a, N),
                                     .accumulate = accumulate,
                                     .compute = compute});
    backend_.linear_backward_input({.dx = dh_n, .dy = dx, .w = weight(w.down), .compute = compute});
    sub_norm_backward(dh, dh_n, a.h, a.sub_rstd, w.mlp_sub_norm);
    backend_.glu_backward({.gate_up = gate_up,
                           .out = arena_->view(a.h),
                           .dout = dh,
                           .activation = Activation::silu});  // gate_up becomes its gradient
  } else {
    const Tensor down_input = rows(a.down_input, N);
    backend_.linear_backward_input({.dx = dh, .dy = dx, .w = weight(w.down), .compute = compute});
    backend_.glu_backward({.gate_up = gate_up, .out = down_input, .dout = dh, .activation = Activation::silu});
    backend_.linear_backward_weight(
        {.dw = gradient(w.down), .dy = dx, .x = down_input, .accumulate = accumulate, .compute = compute});
  }
  backend_.linear_backward_input({.dx = dn, .dy = gate_up, .w = weight_stack(w.gate, w.up), .compute = compute});
  backend_.linear_backward_weight({.dw = gradient_stack(w.gate, w.up),
                                   .dy = gate_up,
                                   .x = rows(a.n2, N),
                                   .accumulate = accumulate,
                                   .compute = compute});
  backend_.residual_rmsnorm_backward({.dx = dx,
                                      .dw = gradient(w.post_norm),
                                      .dn = dn,
                                      .sum = x1,
                                      .rstd = arena_->view(a.rstd2),
                                      .w = weight(w.post_norm)});

  // Attention: x0 + o([sub-norm](attention(rope(qkv(norm(x0))))))
  backend_.linear_backward_weight(
      {.dw = gradient(w.o), .dy = dx, .x = make_o_input(layer, a, N), .accumulate = accumulate, .compute = compute});
  const Tensor dattention_n = spec_.sub_norm ? arena_->view(dsub_norm_).slice_cols(0, dattention.cols()) : dattention;
  backend_.linear_backward_input({.dx = dattention_n, .dy = dx, .w = weight(w.o), .compute = compute});
  if (spec_.sub_norm) sub_norm_backward(dattention, dattention_n, a.attention, a.sub_rstd, w.attention_sub_norm);
  backend_.attention_backward({.shape = attention_shape(pass),
                               .qkv = arena_->view(a.qkv),
                               .out = attention,
                               .lse = arena_->view(a.lse),
                               .dqkv = dqkv,
                               .dout = dattention});
  const QkNormRopeForward rope = rope_args(layer, a, pass);
  backend_.qk_norm_rope_backward({.shape = rope.shape,
                                  .dqkv = dqkv,
                                  .dq_norm = gradient(w.q_norm),
                                  .dk_norm = gradient(w.k_norm),
                                  .qkv_raw = rope.qkv_raw,
                                  .q_norm = rope.q_norm,
                                  .k_norm = rope.k_norm,
                                  .q_norm_rstd = rope.q_norm_rstd,
                                  .rope = rope.rope,
                                  .first_position = rope.first_position});
  if (w.q_bias >= 0) backend_.bias_backward({.dbias = gradient_stack(w.q_bias, w.v_bias), .dy = dqkv});
  backend_.linear_backward_input({.dx = dn, .dy = dqkv, .w = weight_stack(w.q, w.v), .compute = compute});
  backend_.linear_backward_weight(
      {.dw = gradient_stack(w.q, w.v), .dy = dqkv, .x = rows(a.n1, N), .accumulate = accumulate, .compute = compute});
  backend_.residual_rmsnorm_backward({.dx = dx,
                                      .dw = gradient(w.input_norm),
                                      .dn = dn,
                                      .sum = x0,
                                      .rstd = arena_->view(a.rstd1),
                                      .w = weight(w.input_norm)});
}

}  // namespace bittern
