// The op list: what a back end can do, at the grain of the fused kernel. The model is written once against this list.
//
// Sizes: B sequences, T tokens in one, N = B*T rows, C hidden size, H query heads, KV key/value heads, D head size,
// F width of the MLP, V vocabulary. Activations ("act") are f32 or bf16; weights ("w") are f32, bf16 or codes with
// scales; gradients of weights are f32. Arithmetic inside an op is fp32 (sums over rows are split into parts fixed by
// the shape and added in a fixed order, so the bits depend neither on threads nor on the machine's size). "=":
// overwritten. "+=": accumulated. No op allocates: scratch comes from the workspace that the plan gave to the back end.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bittern/quant/philox.h"
#include "bittern/quant/weight_codec.h"
#include "bittern/tensor.h"
#include "bittern/ticket.h"

namespace bittern {

/// What the workspace of a back end must serve.
struct WorkspaceNeeds {
  std::int64_t max_rows = 0;         ///< N of a micro-batch
  std::int64_t max_cols = 0;         ///< widest row of any norm, embedding or bias
  std::int64_t sequence_length = 0;  ///< T
  std::int64_t head_dim = 0;
  std::int64_t heads = 0;  ///< query heads
  std::int64_t kv_heads = 0;
  std::int64_t batch = 0;                               ///< B of a micro-batch
  std::int64_t vocab_size = 0;                          ///< V
  std::int64_t parameter_rows = 0, parameter_cols = 0;  ///< training: most rows, widest row of any parameter
};

/// What a machine can do at most: the yardstick of `--profile` and of the progress line.
struct MachineLimits {
  double gemm_flops = 0;    ///< per second, by the instruction that linear layers use
  double stream_bytes = 0;  ///< per second, two arrays read for one written
};

/// The packed projection of a block: row n is [q (H*D) | k (KV*D) | v (KV*D)].
struct AttentionShape {
  std::int64_t batch, sequence_length, heads, kv_heads, head_dim;
  std::int64_t packed() const { return (heads + 2 * kv_heads) * head_dim; }
};

struct QkNormRope {
  AttentionShape shape;
  Tensor qkv;                       ///< (N, packed) act: rotated in place, or with qk_norm made from qkv_raw (v copied)
  Tensor qkv_raw;                   ///< (N, packed) act with qk_norm: the projection, kept for backward; else empty
  Tensor q_norm, k_norm;            ///< (D) f32, or empty: no qk_norm
  Tensor q_norm_rstd;               ///< (N, H+KV) f32, kept for backward; empty without qk_norm
  Tensor rope;                      ///< (T_max, D) f32: cos in the first D/2 columns, sin in the last
  std::int64_t first_position = 0;  ///< position of each sequence's first token
  float eps = 0;
};

struct Attention {
  AttentionShape shape;
  Tensor qkv;  ///< (N, packed) act, rotated
  Tensor out;  ///< (N, H*D) act
  Tensor lse;  ///< (B, H, T) f32: log of the softmax's denominator, maximum included
};

/// One parameter's update (bittern/optim/optimizer_step.h).
struct OptimizerStep;

/// Where memory of a back end lies. `device`: only the back end reads and writes it; the host knows its addresses and
/// must not follow them. `host`: the host reads and writes it, and copies between it and the device need not wait.
enum class Place : std::uint8_t { device, host };

/// What follows from the kind of a back end and not from the machine, so that a plan is the same everywhere.
struct BackendTraits {
  std::int64_t alignment;      ///< bytes at whose multiples planned tensors start
  std::int64_t logits_bytes;   ///< what a chunk of logits may take, where the config does not say
  std::int64_t head_multiple;  ///< such a chunk has a multiple of so many rows
  int steps_ahead;             ///< training steps that are given to it before the host looks at the first of them
  bool own_memory;             ///< the device's memory is not the host's: each has bytes of its own
};

/// One of the copies that Backend::copy_aside makes.
struct CopyOut {
  void* host;
  const void* device;
  std::int64_t bytes;
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// For people and for the record in a checkpoint, e.g. "cpu avx512_bf16".
  virtual std::string description() const = 0;

  virtual BackendTraits traits() const = 0;

  // ---- memory
  virtual void* allocate(std::int64_t bytes, Place place = Place::device) = 0;  ///< zeroed, 4096-byte aligned
  virtual void release(void* memory, std::int64_t bytes, Place place = Place::device) = 0;
  virtual std::int64_t free_bytes(Place place) const = 0;  ///< that allocate() could still give
  virtual std::int64_t allocated_bytes() const = 0;        ///< by allocate() in both places, and not released

  // ---- copies that wait: what the back end was given before is done, and so is the copy, when they return
  virtual void to_host(void* host, const void* device, std::int64_t bytes) = 0;
  virtual void from_host(void* device, const void* host, std::int64_t bytes) = 0;

  // ---- work goes on while the host does something else
  virtual void synchronize() = 0;           ///< waits for everything that was given
  virtual Ticket mark() = 0;                ///< the point after everything that was given so far
  virtual bool reached(Ticket ticket) = 0;  ///< throws what went wrong on the way there
  virtual void wait(Ticket ticket) = 0;     ///< the same, waiting
  /// Copies to memory of Place::host. The bytes are there once a later mark is reached; until then the back end owns
  /// both ends.
  virtual void copy_out(void* host, const void* device, std::int64_t bytes) = 0;
  /// Such copies beside the work that follows: forward and backward of the next step may run before they are done, the
  /// next optimizer step runs after them. The ticket is reached when all of them are done.
  virtual Ticket copy_aside(std::span<const CopyOut> copies) = 0;

  /// Measured now, in some milliseconds; the bandwidth takes longer and is measured only if asked for.
  virtual MachineLimits measure_limits(DType compute, bool stream) const = 0;
  virtual std::int64_t workspace_bytes(const WorkspaceNeeds& needs) const = 0;
  virtual void bind_workspace(const Tensor& workspace) = 0;

  virtual void zero(const Tensor& x) = 0;
  /// to = from, f32 <-> bf16 (nearest even), codes with scales -> f32 or bf16, or plain (of codes: without the scales).
  virtual void copy(const Tensor& to, const Tensor& from) = 0;

  // ---- embedding: out[n] = w[tokens[n]], w f32, bf16 or codes;   backward: dw[tokens[n]] += dout[n], in order of n.
  //   A token outside 0..V-1 is a failure that names it; nothing is written.
  virtual void embedding_forward(const Tensor& out, const Tensor& w, const Tensor& tokens) = 0;
  virtual void embedding_backward(const Tensor& dw, const Tensor& dout, const Tensor& tokens) = 0;

  // ---- residual_rmsnorm: sum = x + y;  n = sum / sqrt(mean(sum^2) + eps) * w.   sum may be x's memory.
  //   Without y, sum = x is stored only where sum is a tensor other than x.
  //   x, y, sum (N,C) act (dtypes may differ)   n (N,C) act, or codes as `quantize` makes them of n in fp32
  //   rstd (N) f32, kept for backward   w (C) f32
  //   With sum stored in bf16 the norm is taken of the stored (rounded) values, so that recomputation gives the same
  //   bits.
  virtual void residual_rmsnorm_forward(const Tensor& sum, const Tensor& n, const Tensor& rstd, const Tensor& x,
                                        const Tensor& y, const Tensor& w, float eps) = 0;
  //   dx += gradient through the norm (dx holds the gradient that arrives by the residual path)   dw += sum over rows
  virtual void residual_rmsnorm_backward(const Tensor& dx, const Tensor& dw, const Tensor& dn, const Tensor& sum,
                                         const Tensor& rstd, const Tensor& w) = 0;

  // ---- qk_norm_rope: q, k = rmsnorm per head (if asked), then rotated, a and b the halves of D:
  //   (a, b) -> (a cos - b sin, b cos + a sin)
  virtual void qk_norm_rope_forward(const QkNormRope& args) = 0;
  //   dqkv (N,packed) act, in place: gradient of the rotated values -> gradient of the projection
  //   dq_norm, dk_norm (D) f32 +=
  virtual void qk_norm_rope_backward(const QkNormRope& args, const Tensor& dqkv, const Tensor& dq_norm,
                                     const Tensor& dk_norm) = 0;

  // ---- attention: out = softmax(q k^T / sqrt(D), causal) v, streaming over keys: T x T never exists.
  virtual void attention_forward(const Attention& args) = 0;
  virtual void attention_backward(const Attention& args, const Tensor& dqkv, const Tensor& dout) = 0;  ///< dqkv =
  /// Generation: appends the k, v of the rows of qkv (one sequence, positions first..first+rows-1) to the caches
  /// (T_max, KV*D) act and attends each row to all positions up to its own. out (rows, H*D).
  virtual void attention_cached(const Tensor& out, const Tensor& qkv, const Tensor& k_cache, const Tensor& v_cache,
                                const AttentionShape& shape, std::int64_t first_position) = 0;

  // ---- swiglu: out = silu(gate) * up, gate_up (N,2F) = [gate | up]; out may be codes, as n of residual_rmsnorm.
  //   backward: gate_up is overwritten by its gradient, and out (N,F) by the recomputed forward value, which the weight
  //   gradient of down_proj needs.
  virtual void swiglu_forward(const Tensor& out, const Tensor& gate_up) = 0;
  virtual void swiglu_backward(const Tensor& gate_up, const Tensor& out, const Tensor& dout) = 0;

  // ---- linear: y (N,O) = x (N,I) w (O,I)^T + bias (O).  compute: f32, or bf16 (operands rounded to bf16, fp32
  // accumulation).  x and w may be codes, which are exact in either; their scales multiply in fp32: the sums, or, where
  // they lie along the reduction (w's in backward_input, x's in backward_weight), dy before it is rounded.
  //   dx (N,I) = dy w        dw (O,I) f32 (=, or += when accumulate) dy^T x        dbias (O) f32 += sum of rows of dy
  virtual void linear_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, DType compute) = 0;
  virtual void linear_backward_input(const Tensor& dx, const Tensor& dy, const Tensor& w, DType compute) = 0;
  virtual void linear_backward_weight(const Tensor& dw, const Tensor& dy, const Tensor& x, bool accumulate,
                                      DType compute) = 0;
  virtual void bias_backward(const Tensor& dbias, const Tensor& dy) = 0;

  // ---- cross_entropy over a chunk of rows: loss = lse(logits) - logits[target], lse_squared = lse^2; of target -1: 0
  //   logits (R,V) act   targets (R) i32   loss, lse_squared (R) f32
  //   With backward, logits are overwritten by scale * (softmax * (1 + 2 z_loss lse) - onehot), and by 0 where the
  //   target is -1.
  virtual void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& loss, const Tensor& lse_squared,
                             float scale, float z_loss, bool backward) = 0;

  // ---- global_norm: norm[0] = sqrt(sum of squares over all gradients)   norm (2) f32
  //   norm[1] = the clip scale min(1, max_norm / norm[0]), 1 where max_norm is 0 (no clipping).
  //   A non-finite gradient makes norm[0] non-finite.
  virtual void global_norm(const Tensor& norm, std::span<const Tensor> gradients, float max_norm) = 0;

  // ---- quantize: codes and scales of activations, row by row (a token each); nearest even, clamped.
  //   x (N,C) act   q (N,C) fp8_e4m3 with scales = absmax / 448 (1 where absmax is 0), or i8 with scales =
  //   max(absmax, 1e-5) / 127 (BitNet's).  Backward is the identity (straight-through): there is no op for it.
  virtual void quantize(const Tensor& q, const Tensor& x) = 0;

  // ---- encode_weight: the stored weight = values (host, fp32, the weight's shape), rounded to nearest
  //   The weight is f32, bf16, or codes with scales (quant/weight_codec.h), which are made anew, by row or alike in all
  //   rows as the codec says.
  //   copy() is the reverse: from codes to f32 or bf16 it decodes.
  virtual void encode_weight(const Tensor& weight, std::span<const float> values, const WeightCodec& codec) = 0;

  // ---- optimizer_step: one fused pass over one parameter (bittern/optim/optimizer_step.h)
  virtual void optimizer_step(const OptimizerStep& args) = 0;
};

/// threads 0: all CPUs of the affinity mask.
std::unique_ptr<Backend> make_cpu_backend(int threads);

}  // namespace bittern
