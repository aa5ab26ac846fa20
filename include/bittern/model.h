// Transformer: hand-written forward and backward of a decoder-only language model, in terms of the op list.
//
// A block:  x += d;  n1 = rmsnorm(x);  qkv = n1 Wqkv^T + b;  q, k = [norm,] rope;  a = attention(q, k, v);
//           x += a Wo^T;  n2 = rmsnorm(x);  h = silu(n2 Wgate^T) * (n2 Wup^T);  d = h Wdown^T
//           (d joins x in the next norm)
// With sub_norm a and h go through a norm of their own before Wo and Wdown (SubLN). That norm is taken again in
// backward, so nothing of it is kept. The head and the loss run over chunks of rows, forward and backward together, so
// the logits never exist whole.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bittern/backend.h"
#include "bittern/parameter.h"
#include "bittern/plan.h"
#include "bittern/step_record.h"

namespace bittern {

struct ModelOptions {
  std::int64_t batch = 1;            ///< sequences in a micro-batch
  std::int64_t sequence_length = 1;  ///< T
  DType compute = DType::f32;
  DType residual = DType::f32;
  /// e4m3 or i8: the inputs of the blocks' linears are quantized, a token at a time, and their gradient passes straight
  /// through; none: they are compute's.
  std::optional<DType> activations = std::nullopt;
  bool training = true;           ///< false: no gradients, and one block's activations serve all blocks
  bool recompute_blocks = false;  ///< keep only each block's input; run its forward again in backward
  std::int64_t head_rows = 0;     ///< rows of logits at a time; 0: as many as fill BackendTraits::logits_bytes
  std::int64_t cache_length = 0;  ///< positions of the key/value cache; 0: no generation
  float z_loss = 0;               ///< coefficient of lse^2 (PaLM, section 5)
  ByRole<WeightCodec> codecs{};
};

/// B*T ids on the host; -1 in targets: no loss there. `total_targets`: how many targets the whole step has.
struct MicroBatch {
  std::span<const std::int32_t> tokens, targets;
  std::int64_t total_targets = 0;
};

class Transformer {
 public:
  /// Adds every tensor of the model to the plan.
  Transformer(Backend& backend, const ModelSpec& spec, const ModelOptions& options, Plan& plan);
  /// Takes the views, once the plan is laid out and allocated.
  void bind(const Arena& arena);

  /// Weights ~ N(0, initializer_range), norms 1, biases 0; a pure function of the seed and the parameter's id.
  void initialize(std::uint32_t seed);
  /// Stores fp32 values as the parameter's weight (rounded to nearest) and, where it has one, its master.
  void load_parameter(const Parameter& parameter, std::span<const float> values);

  /// Adds to the gradients of (1 / total_targets) * sum(loss + z_loss * lse^2); `first` micro-batch of a step: overwrites
  /// them. Adds the losses to `sums` (step_record.h), in the back end's memory: the host waits for nothing.
  void forward_backward(const MicroBatch& batch, const Tensor& sums, bool first);
  /// Waits for the losses.
  LossSums forward(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets);
  /// All logits (B*T, V) on the host: for tests and tools, one chunk of rows at a time.
  std::vector<float> logits(std::span<const std::int32_t> tokens);

  /// Generation: appends tokens at positions first.. to the key/value cache and returns the logits (V) after the last
  /// one.
  std::vector<float> next_logits(std::span<const std::int32_t> tokens, std::int64_t first_position);

  std::span<Parameter> parameters() { return parameters_; }
  std::span<const Parameter> parameters() const { return parameters_; }
  std::vector<Tensor> gradients() const;
  const ModelSpec& spec() const { return spec_; }
  const ModelOptions& options() const { return options_; }
  WorkspaceNeeds workspace_needs() const;
  /// Floating-point operations of one token's forward and backward: 6 per matrix weight, and causal attention.
  double flops_per_token() const;

 private:
  /// What a linear of a block reads: act, or codes with scales (N) where activations are quantized.
  struct LinearInput {
    TensorId values, scales;
  };
  /// The activations of one block. Rows: N = B*T (or the rows of a generation step).
  struct BlockActivations {
    TensorId x0;                         // (N,C)  block input: the residual stream after the previous block
    LinearInput n1;                      // (N,C)
    TensorId rstd1;                      // (N)
    TensorId qkv_raw, qkv, q_norm_rstd;  // (N,packed), (N,packed), (N,H+KV); raw and rstd only with qk_norm
    TensorId attention, lse;             // (N,H*D), (B,H,T)
    TensorId x1;                         // (N,C)  the stream after attention
    LinearInput n2;                      // (N,C)
    TensorId rstd2;                      // (N)
    TensorId gate_up;                    // (N,2F)
    // One for all blocks (but for an o_input that is attention); the inputs are made again in backward:
    TensorId out;            // (N,C)  output of o_proj, then of down_proj
    LinearInput o_input;     // (N,H*D)  attention itself, its codes, or its sub-norm
    LinearInput down_input;  // (N,F)  h, or its sub-norm
    TensorId h, sub_rstd;    // (N,F), (N)  only with sub-norms
  };
  struct FinalActivations {
    TensorId x, n, rstd;  // (N,C), (N,C), (N)
    TensorId logits;      // (head_rows,V), or (1,V) for generation
  };
  /// Positions in the parameter table (first and last of a stack); -1: this model has none.
  struct BlockWeights {
    std::int32_t input_norm, q, v, q_bias, v_bias, q_norm, k_norm, attention_sub_norm, o, post_norm, gate, up,
        mlp_sub_norm, down;
  };

  void plan_parameters(Plan& plan);
  void plan_activations(Plan& plan);
  BlockActivations plan_block(Plan& plan, const std::string& prefix, std::int64_t batch, std::int64_t sequence_length,
                              Lifetime kept, const BlockActivations& shared, bool own_input);
  BlockActivations plan_shared(Plan& plan, const std::string& prefix, std::int64_t rows, Lifetime out, Lifetime others);
  LinearInput plan_input(Plan& plan, const std::string& name, std::int64_t rows, std::int64_t cols, Category category,
                         Lifetime life);
  FinalActivations plan_final(Plan& plan, const std::string& prefix, std::int64_t rows, std::int64_t logits_rows,
                              Lifetime kept, Lifetime head);

  Tensor weight(std::int32_t parameter) const;
  Tensor gradient(std::int32_t parameter) const;
  Tensor weight_stack(std::int32_t first, std::int32_t last) const;  // an empty tensor for -1
  Tensor gradient_stack(std::int32_t first, std::int32_t last) const;
  Tensor rows(TensorId id, std::int64_t count) const { return id ? arena_->view(id).slice_rows(0, count) : Tensor(); }
  Tensor rows(const LinearInput& input, std::int64_t count) const;
  BlockActivations block(int layer) const;
  /// n = the norm of x with the weight of a sub-norm.
  void sub_norm(const Tensor& n, TensorId x, TensorId rstd, std::int32_t weight_of);
  /// dx = the gradient of x, of which n is the norm, from the gradient dn.
  void sub_norm_backward(const Tensor& dx, const Tensor& dn, TensorId x, TensorId rstd, std::int32_t weight_of);
  /// What o_proj reads, made of attention, and what down_proj reads, made of gate_up.
  Tensor make_o_input(int layer, const BlockActivations& a, std::int64_t count);
  Tensor make_down_input(int layer, const BlockActivations& a, std::int64_t count);

  /// Which rows a forward runs on.
  struct Pass {
    std::int64_t batch, sequence_length;
    std::int64_t first_position = 0;
    bool cached = false;  ///< generation: keys and values are appended to the cache
    std::int64_t rows() const { return batch * sequence_length; }
  };
  Pass full_pass() const { return {options_.batch, options_.sequence_length}; }
  /// Sends a micro-batch to the back end. Ids outside the vocabulary are refused here, for all back ends: no op reads
  /// them first.
  void upload(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets);
  void check_tokens(std::span<const std::int32_t> tokens) const;
  void check_targets(std::span<const std::int32_t> targets) const;
  void forward_to_final_norm(const Pass& pass);
  void block_forward(int layer, const BlockActivations& a, const Pass& pass, bool for_backward);
  void block_backward(int layer, bool accumulate);
  void head(std::int64_t total_targets, const Tensor& sums, bool backward, bool accumulate);
  AttentionShape attention_shape(const Pass& pass) const;
  QkNormRopeForward rope_args(int layer, const BlockActivations& a, const Pass& pass) const;

  Backend& backend_;
  ModelSpec spec_;
  ModelOptions options_;
  const Arena* arena_ = nullptr;
  std::vector<Parameter> parameters_;
  std::vector<BlockWeights> weights_;
  std::int32_t embedding_ = -1, final_norm_ = -1, head_ = -1;

  std::vector<BlockActivations> blocks_;  // one per layer, or one for all
  std::vector<TensorId> block_inputs_;    // where one serves all: x0 of every layer (recomputation starts there)
  FinalActivations final_;
  TensorId tokens_, targets_, losses_, lse_squared_, loss_sums_, rope_;
  TensorId dn_, dx_, datt_, dqkv_, dh_;
  TensorId dsub_norm_;             // (N, the wider of H*D and F)  gradient of a sub-norm
  BlockActivations cached_block_;  // generation
  FinalActivations cached_final_;
  TensorId cached_tokens_;
  std::vector<TensorId> k_cache_, v_cache_;
};

}  // namespace bittern
