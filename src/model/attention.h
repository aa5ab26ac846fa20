// Attention: the branch  out = [post-norm]([sub-norm](attention(rope([norm](n Wqkv^T + b)))) Wo^T).
//
//   n (N,C)   qkv (N, (H + 2 KV) D) = [q | k | v], one GEMM   out (N,C)
// Kept for backward: the projection (with norms on q and k), the rotated projection, attention's output and lse.
// What a layer's attention has (biases, norms on q and k, before Wo and after it, its rotary table, its window) is data.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "model/activation_plan.h"
#include "model/parameter_rows.h"
#include "model/pass.h"
#include "model/post_norm.h"
#include "model/rope_tables.h"
#include "model/sub_norm.h"

namespace bittern {

struct AttentionData {
  std::int64_t hidden_size;                ///< C
  std::int64_t heads, kv_heads, head_dim;  ///< H, KV, D
  NormMath math;                           ///< of its norms
  Rope rope;
  AttentionScores scores{};
  bool bias = false;                ///< on q, k, v
  bool qk_norm = false;             ///< a norm of every query and key head
  bool sub_norm = false;            ///< a norm of what Wo reads
  std::string_view post_norm = {};  ///< Hugging Face's name of the weight of a norm of out; empty: none
  std::int64_t query_cols() const { return heads * head_dim; }
  std::int64_t packed() const { return (heads + 2 * kv_heads) * head_dim; }
};

class Attention {
 public:
  Attention(const AttentionData& data, LayerRows& rows);
  void plan(ActivationPlan& plan);
  void plan_positions(Plan& plan, RopeTables& ropes, std::int64_t positions);
  /// Keys and values of `length` positions, for generation.
  void plan_cache(ActivationPlan& plan, std::int64_t length);

  void forward(const PartContext& c, const Pass& pass, Flow& flow, bool output_wanted) const;
  void backward(const PartContext& c, const Pass& pass, const BackwardFlow& flow) const;

  /// Of its products over keys, forward and backward; a causal mask is counted as half.
  double attention_flops_per_token(std::int64_t sequence_length) const;

 private:
  struct Tensors {
    TensorId qkv_raw, qkv;      // (N,packed); raw only with norms on q and k
    TensorId q_norm_rstd;       // (N,H+KV)
    TensorId attention, lse;    // (N,H*D), (B,H,T)
    LinearInput o_input;        // (N,H*D) what Wo reads: attention itself, its norm, or its codes
    TensorId out;               // (N,C) what joins the stream
    TensorId k_cache, v_cache;  // (positions, KV*D)  generation
  };
  const Tensors& tensors(const Pass& pass) const { return pass.generation ? generation_ : whole_; }
  AttentionShape shape(const Pass& pass) const;
  QkNormRopeForward rope_args(const PartContext& c, const Pass& pass) const;
  Tensor make_o_input(const PartContext& c, const Pass& pass) const;

  AttentionData data_;
  Weights qkv_, bias_, q_norm_, k_norm_, o_;
  std::optional<SubNorm> sub_norm_;
  std::optional<PostNorm> post_norm_;
  Tensors whole_, generation_;
  TensorId dattention_, dqkv_, dsub_norm_;  // gradients: (N,H*D), (N,packed), (N,H*D)
  TensorId rope_;
};

}  // namespace bittern
