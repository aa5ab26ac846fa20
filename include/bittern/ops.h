// The op list: the arguments of every op and what the op makes of them, at the grain of the fused kernel. This is the
// contract that all back ends keep. Backend (backend.h) has one public function for each struct, which checks the
// arguments, notes what they cost, and runs the op. The model is written once against this list.
//
// Sizes: B sequences, T tokens in one, N = B*T rows, C hidden size, H query heads, KV key/value heads, D head size,
// F width of the MLP, V vocabulary, O and I rows and columns of a linear's weight. Activations ("act") are f32 or bf16;
// weights ("w") are f32, bf16 or codes with scales; gradients of weights are f32. Arithmetic inside an op is fp32.
// Sums over rows are split into parts fixed by the shape and added in a fixed order, so the bits depend neither on
// threads nor on the machine's size. "=": overwritten. "+=": accumulated. A member that may be left out has a default.
//
// No op allocates: scratch comes from the workspace that the plan gave to the back end. No op reads ids (tokens,
// targets) before it runs: whoever sends them to the back end checks them first (Transformer::upload).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "bittern/activation.h"
#include "bittern/optim/optimizer_step.h"
#include "bittern/quant/weight_codec.h"
#include "bittern/tensor.h"

namespace bittern {

// ---- embedding: out[n] = scale w[tokens[n]], w rounded to out's type before it is scaled.
//   backward: dw[tokens[n]] += scale dout[n], in order of n.
//   backward is given the rows twice: as tokens, and grouped by token, so that a back end may add up the rows of one
//   token by itself. It may read either; the bits are the same.
struct EmbeddingForward {
  static constexpr std::string_view name = "embedding_forward";
  Tensor out;     ///< (N,C) act =
  Tensor w;       ///< (V,C) f32, bf16 or codes
  Tensor tokens;  ///< (N) i32, each in 0..V-1
  float scale = 1.0f;
};
struct EmbeddingBackward {
  static constexpr std::string_view name = "embedding_backward";
  Tensor dw;      ///< (V,C) f32 +=
  Tensor dout;    ///< (N,C) act
  Tensor tokens;  ///< (N) i32, each in 0..V-1
  Tensor order;   ///< (2N+2) i32: token_order (token_order.h) of the tokens
  float scale = 1.0f;
};

// ---- residual_rmsnorm: sum = x + y;  n = sum / sqrt(mean(sum^2) + eps) * (offset + w)
//   Without y, sum = x is stored only where sum is a tensor other than x. With sum stored in bf16 the norm is taken of
//   the stored (rounded) values, so that recomputation gives the same bits.
struct ResidualRmsnormForward {
  static constexpr std::string_view name = "residual_rmsnorm_forward";
  Tensor sum{};  ///< (N,C) act =  It may be x's memory; without y it may be left out.
  Tensor n;      ///< (N,C) act, or codes as `quantize` makes them of n in fp32 =
  Tensor rstd;   ///< (N) f32 =  1 / sqrt(mean(sum^2) + eps), kept for backward
  Tensor x;      ///< (N,C) act
  Tensor y{};    ///< (N,C) act, or none: sum = x
  Tensor w;      ///< (C) f32
  float eps;
  float offset = 0.0f;  ///< Gemma: 1
};
struct ResidualRmsnormBackward {
  static constexpr std::string_view name = "residual_rmsnorm_backward";
  Tensor dx;    ///< (N,C) act +=  It holds the gradient that arrives by the residual path. With overwrite: =
  Tensor dw;    ///< (C) f32 +=  summed over rows
  Tensor dn;    ///< (N,C) act
  Tensor sum;   ///< (N,C) act, as forward left it
  Tensor rstd;  ///< (N) f32
  Tensor w;     ///< (C) f32
  float offset = 0.0f;
  bool overwrite = false;
};

/// The packed projection of a block: row n is [q (H*D) | k (KV*D) | v (KV*D)].
struct AttentionShape {
  std::int64_t batch, sequence_length, heads, kv_heads, head_dim;
  std::int64_t rows() const { return batch * sequence_length; }
  std::int64_t packed() const { return (heads + 2 * kv_heads) * head_dim; }
};

// ---- qk_norm_rope: each head of q and k is normalised (if asked), then rotated; a and b are the halves of D:
//   (a, b) -> (a cos - b sin, b cos + a sin)
//   A norm multiplies by offset + its weight, as residual_rmsnorm does. Without norms, qkv_raw, q_norm, k_norm and
//   q_norm_rstd are left out.
struct QkNormRopeForward {
  static constexpr std::string_view name = "qk_norm_rope_forward";
  AttentionShape shape;
  Tensor qkv;                       ///< (N,packed) act: rotated in place, or with norms made from qkv_raw (v is copied)
  Tensor qkv_raw{};                 ///< (N,packed) act with norms: the projection, kept for backward
  Tensor q_norm{};                  ///< (D) f32, or none
  Tensor k_norm{};                  ///< (D) f32, or none
  Tensor q_norm_rstd{};             ///< (N,H+KV) f32 with norms =, kept for backward
  Tensor rope;                      ///< (T_max,D) f32: cos in the first D/2 columns, sin in the last
  std::int64_t first_position = 0;  ///< position of each sequence's first token
  float eps = 0;
  float offset = 0;
};
struct QkNormRopeBackward {
  static constexpr std::string_view name = "qk_norm_rope_backward";
  AttentionShape shape;
  Tensor dqkv;  ///< (N,packed) act, in place: gradient of the rotated values -> gradient of the projection
  Tensor dq_norm{}, dk_norm{};                          ///< (D) f32 +=  with norms
  Tensor qkv_raw{}, q_norm{}, k_norm{}, q_norm_rstd{};  ///< as in forward
  Tensor rope;
  std::int64_t first_position = 0;
  float offset = 0;
};

/// How scores are made: s = scale q k^T, then with a cap cap tanh(s / cap). A query sees the `window` newest keys, its own
/// among them.
struct AttentionScores {
  float scale = 0.0f;       ///< 0: 1 / sqrt(D)
  float softcap = 0.0f;     ///< 0: none
  std::int64_t window = 0;  ///< 0: all keys up to its own
};

// ---- attention: out = softmax(scores, causal) v, streaming over keys: T x T never exists.
struct AttentionForward {
  static constexpr std::string_view name = "attention_forward";
  AttentionShape shape;
  AttentionScores scores{};
  Tensor qkv;  ///< (N,packed) act, rotated
  Tensor out;  ///< (N,H*D) act =
  Tensor lse;  ///< (B,H,T) f32 =  log of the softmax's denominator, maximum included, of capped scores
};
struct AttentionBackward {
  static constexpr std::string_view name = "attention_backward";
  AttentionShape shape;
  AttentionScores scores{};
  Tensor qkv, out, lse;  ///< as forward left them
  Tensor dqkv;           ///< (N,packed) act =
  Tensor dout;           ///< (N,H*D) act
};
/// Generation: appends the k, v of the rows of qkv (one sequence, positions first_position, ...) to the caches and
/// attends each row to all positions up to its own.
struct AttentionCached {
  static constexpr std::string_view name = "attention_cached";
  AttentionShape shape;  ///< of the new rows: one sequence
  AttentionScores scores{};
  Tensor qkv;               ///< (rows,packed) act, rotated
  Tensor out;               ///< (rows,H*D) act =
  Tensor k_cache, v_cache;  ///< (T_max,KV*D) act; rows first_position, ... =
  std::int64_t first_position;
};

// ---- glu: out = activation(gate) * up   (activation.h)
struct GluForward {
  static constexpr std::string_view name = "glu_forward";
  Tensor out;      ///< (N,F) act, or codes as n of residual_rmsnorm =
  Tensor gate_up;  ///< (N,2F) act = [gate | up]
  Activation activation;
};
struct GluBackward {
  static constexpr std::string_view name = "glu_backward";
  Tensor gate_up;  ///< (N,2F) act, overwritten by its gradient
  Tensor out;      ///< (N,F) act or codes =  the forward value again, which the weight gradient of down_proj needs
  Tensor dout;     ///< (N,F) act; it may be out's memory
  Activation activation;
};

// ---- linear: y = x w^T + bias.   compute: f32, or bf16 (operands rounded to bf16, fp32 accumulation).
//   x and w may be codes, which are exact in either; their scales multiply in fp32: the sums, or, where they lie along
//   the reduction (w's in backward_input, x's in backward_weight), dy before it is rounded.
struct LinearForward {
  static constexpr std::string_view name = "linear_forward";
  Tensor y;       ///< (N,O) act =
  Tensor x;       ///< (N,I) act or codes
  Tensor w;       ///< (O,I)
  Tensor bias{};  ///< (O) f32, or none
  DType compute;
};
struct LinearBackwardInput {
  static constexpr std::string_view name = "linear_backward_input";
  Tensor dx;  ///< (N,I) act = dy w
  Tensor dy;  ///< (N,O) act
  Tensor w;   ///< (O,I)
  DType compute;
};
struct LinearBackwardWeight {
  static constexpr std::string_view name = "linear_backward_weight";
  Tensor dw;        ///< (O,I) f32 = dy^T x, or +=
  Tensor dy;        ///< (N,O) act
  Tensor x;         ///< (N,I) act or codes
  bool accumulate;  ///< += rather than =
  DType compute;
};
struct BiasBackward {
  static constexpr std::string_view name = "bias_backward";
  Tensor dbias;  ///< (O) f32 +=  sum of the rows of dy
  Tensor dy;     ///< (N,O) act
};

// ---- cross_entropy over a chunk of R rows: loss = lse(logits) - logits[target]; of a row with target -1: 0
//   With a soft cap all of it is of capped logits, cap tanh(logits / cap), and the gradient of the logits as given.
struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";
  /// (R,V) act. With backward they are overwritten by scale * (softmax * (1 + 2 z_loss lse) - onehot), and by 0 where
  /// the target is -1.
  Tensor logits;
  Tensor targets;      ///< (R) i32, each in -1..V-1
  Tensor loss;         ///< (R) f32 =
  Tensor lse_squared;  ///< (R) f32 =  lse^2; of a row with target -1: 0
  Tensor scale{};      ///< (1) f32 with backward: the device's own number, as it differs from step to step
  float z_loss;
  bool backward;
  float softcap = 0.0f;  ///< 0: none
};

// ---- begin_step: the record (step_record.h) forgets the step before: sums = 0, skipped = no.
struct BeginStep {
  static constexpr std::string_view name = "begin_step";
  Tensor record;  ///< (128) u8: a StepRecord
};

// ---- add_losses: sums += loss, lse_squared and 1 of every row with a target (>= 0).
//   A micro-batch is summed in double, in an order fixed by its shape, and then added.
struct AddLosses {
  static constexpr std::string_view name = "add_losses";
  Tensor sums;         ///< (24) u8: LossSums +=
  Tensor loss;         ///< (N) f32, 0 where there is no target
  Tensor lse_squared;  ///< (N) f32, 0 where there is no target
  Tensor targets;      ///< (N) i32
};

// ---- square_parts: parts = sums of squares, in double, of each part of rows (row_parts.h) of each gradient, in order.
//   So shards, which begin where parts do, can share them, and a list of gradients can be taken a bucket at a time.
//   A vector is one row, hence one part. The order of a part's sum is fixed by its elements' number.
struct SquareParts {
  static constexpr std::string_view name = "square_parts";
  Tensor parts;                       ///< (8 * parts) u8: doubles =
  std::span<const Tensor> gradients;  ///< f32, without gaps
};
/// How many parts a gradient of this shape has.
std::int64_t square_parts_of(const Tensor& gradient);

// ---- norm_of_parts: norm[0] = sqrt(the sum of the parts, in order).   A non-finite gradient makes it non-finite.
//   norm[1] = the clip scale min(1, max_norm / norm[0]), 1 where max_norm is 0 (no clipping).
struct NormOfParts {
  static constexpr std::string_view name = "norm_of_parts";
  Tensor norm;   ///< (2) f32 =
  Tensor parts;  ///< as square_parts made them, of all gradients
  float max_norm;
};

// ---- decide_step: whether the update is made. Called once in a step, when sums and norm are whole.
//   The rows of `shares` are added to the record's sums, in order. skipped = not_finite, where the loss or the norm is
//   not finite, norm * clip is above 1e19 (its square, which second moments hold, would be infinite in fp32), no row
//   has a target, or an op met a fault; or far_from_mean, where the loss or the norm is more than
//   `deviations` standard deviations above its running mean, which is asked for by deviations > 0 and from the 100th
//   update on. Where it is neither, updates += 1 and the running means move.
struct DecideStep {
  static constexpr std::string_view name = "decide_step";
  Tensor record;           ///< (128) u8: a StepRecord
  Tensor shares{};         ///< (S,24) u8: LossSums of the other shares of the step, or none
  float deviations = 0.0;  ///< train.skip_deviations
};

// ---- decide_bucket: decide_step for updates that are made while backward still runs (train.fused_backward): whether the
//   gradients of a bucket of parameters are used, and how they are clipped. Called for each bucket once they are final,
//   after norm_of_parts, where the parts of the buckets to come are 0: norm is that of the gradients so far.
//   first: skipped as decide_step says, of the loss and of that norm. Where it is no, updates += 1.
//   later: where skipped is no, and the norm is not finite, norm * clip is above 1e19, or an op met a fault: skipped =
//     rest, left_from = 1 + bucket. So the buckets before it are updated; it and those after it are not.
//   clip = min(1, max_norm / norm so far, max_norm / mean norm of the updates before); 1 where max_norm is 0.
//   last: where skipped is still no, the running means move.
struct DecideBucket {
  static constexpr std::string_view name = "decide_bucket";
  Tensor record;            ///< (128) u8: a StepRecord
  std::int64_t bucket = 0;  ///< its number, for left_from
  bool first, last;         ///< of the step
  float max_norm = 0.0f;    ///< 0: no clipping
  float deviations = 0.0f;  ///< train.skip_deviations
};

// ---- quantize: codes and scales of activations, row by row (a token each); nearest even, clamped.
//   Backward is the identity (straight-through): there is no op for it.
struct Quantize {
  static constexpr std::string_view name = "quantize";
  /// (N,C) = fp8_e4m3 with scales = absmax / 448 (1 where absmax is 0), or i8 with scales = max(absmax, 1e-5) / 127
  /// (BitNet's).
  Tensor q;
  Tensor x;  ///< (N,C) act
};

// ---- encode_weight: the stored weight = values, rounded to nearest.   The reverse is `copy`.
struct EncodeWeight {
  static constexpr std::string_view name = "encode_weight";
  /// f32, bf16, or codes whose scales are made anew, by row or alike in all rows as the codec says.
  Tensor weight;
  std::span<const float> values;  ///< on the host, of the weight's shape
  WeightCodec codec;
};

// ---- copy: to = from, f32 <-> bf16 (nearest even), codes with scales -> f32 or bf16, or bytes of one type (of codes:
//   without the scales).   zero: x = 0.
struct Copy {
  static constexpr std::string_view name = "copy";
  Tensor to, from;  ///< matrices of one size
};
struct Zero {
  static constexpr std::string_view name = "zero";
  Tensor x;
};

/// What an op must move and do: each input read once, each output written once, and the operations of its products of
/// matrices (a multiplication and an addition are two). Of the arguments alone: nothing is run.
struct Cost {
  double bytes = 0;
  double flops = 0;
  bool operator==(const Cost&) const = default;
};
Cost cost_of(const EmbeddingForward& args);
Cost cost_of(const EmbeddingBackward& args);
Cost cost_of(const ResidualRmsnormForward& args);
Cost cost_of(const ResidualRmsnormBackward& args);
Cost cost_of(const QkNormRopeForward& args);
Cost cost_of(const QkNormRopeBackward& args);
Cost cost_of(const AttentionForward& args);
Cost cost_of(const AttentionBackward& args);
Cost cost_of(const AttentionCached& args);
Cost cost_of(const GluForward& args);
Cost cost_of(const GluBackward& args);
Cost cost_of(const LinearForward& args);
Cost cost_of(const LinearBackwardInput& args);
Cost cost_of(const LinearBackwardWeight& args);
Cost cost_of(const BiasBackward& args);
Cost cost_of(const CrossEntropy& args);
Cost cost_of(const BeginStep& args);
Cost cost_of(const AddLosses& args);
Cost cost_of(const SquareParts& args);
Cost cost_of(const NormOfParts& args);
Cost cost_of(const DecideStep& args);
Cost cost_of(const DecideBucket& args);
Cost cost_of(const Quantize& args);
Cost cost_of(const EncodeWeight& args);
Cost cost_of(const OptimizerStep& args);
Cost cost_of(const Copy& args);
Cost cost_of(const Zero& args);

}  // namespace bittern
