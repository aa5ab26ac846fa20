// Backend: the memory of a machine or device, and the op list (ops.h) on it.
//
// An op's public function is the same for every back end (src/ops/NAME.cpp): it checks the arguments, notes their cost
// for the profile, and calls the virtual do_NAME, which checks nothing. So refusals and costs exist once, and a back
// end is kernels and launchers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bittern/noted_call.h"
#include "bittern/ops.h"
#include "bittern/tensor.h"
#include "bittern/ticket.h"

namespace bittern {

/// What a machine can do at most: the yardstick of `--profile` and of the progress line.
struct MachineLimits {
  double gemm_flops = 0;    ///< per second, by the instruction that linear layers use
  double stream_bytes = 0;  ///< per second, two arrays read for one written
};

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
  /// What a call needs of the workspace beside what all calls share. It serves the same call of fewer rows too. Reads
  /// shapes and types, no memory.
  virtual std::int64_t scratch_bytes(const OpArgs& args) const = 0;
  /// What serves each of these calls.
  virtual std::int64_t workspace_bytes(std::span<const NotedCall> calls) const = 0;
  virtual void bind_workspace(const Tensor& workspace) = 0;

  // ---- the op list. Each throws where its arguments do not fit, naming op, tensor and what was expected.
  void embedding_forward(const EmbeddingForward& args);
  void embedding_backward(const EmbeddingBackward& args);
  void residual_rmsnorm_forward(const ResidualRmsnormForward& args);
  void residual_rmsnorm_backward(const ResidualRmsnormBackward& args);
  void qk_norm_rope_forward(const QkNormRopeForward& args);
  void qk_norm_rope_backward(const QkNormRopeBackward& args);
  void attention_forward(const AttentionForward& args);
  void attention_backward(const AttentionBackward& args);
  void attention_cached(const AttentionCached& args);
  void glu_forward(const GluForward& args);
  void glu_backward(const GluBackward& args);
  void linear_forward(const LinearForward& args);
  void linear_backward_input(const LinearBackwardInput& args);
  void linear_backward_weight(const LinearBackwardWeight& args);
  void bias_backward(const BiasBackward& args);
  void cross_entropy(const CrossEntropy& args);
  void begin_step(const BeginStep& args);
  void add_losses(const AddLosses& args);
  void square_parts(const SquareParts& args);
  void norm_of_parts(const NormOfParts& args);
  void decide_step(const DecideStep& args);
  void decide_bucket(const DecideBucket& args);
  void quantize(const Quantize& args);
  void encode_weight(const EncodeWeight& args);
  /// The updates of a step, all of them or those of some parameters: the bits are the same.
  void optimizer_steps(std::span<const OptimizerStep> all);
  void optimizer_step(const OptimizerStep& args) { optimizer_steps({&args, 1}); }
  void copy(const Copy& args);
  void zero(const Zero& args);

 protected:
  // ---- what a back end implements. The arguments were checked.
  virtual void do_embedding_forward(const EmbeddingForward& args) = 0;
  virtual void do_embedding_backward(const EmbeddingBackward& args) = 0;
  virtual void do_residual_rmsnorm_forward(const ResidualRmsnormForward& args) = 0;
  virtual void do_residual_rmsnorm_backward(const ResidualRmsnormBackward& args) = 0;
  virtual void do_qk_norm_rope_forward(const QkNormRopeForward& args) = 0;
  virtual void do_qk_norm_rope_backward(const QkNormRopeBackward& args) = 0;
  virtual void do_attention_forward(const AttentionForward& args) = 0;
  virtual void do_attention_backward(const AttentionBackward& args) = 0;
  virtual void do_attention_cached(const AttentionCached& args) = 0;
  virtual void do_glu_forward(const GluForward& args) = 0;
  virtual void do_glu_backward(const GluBackward& args) = 0;
  virtual void do_linear_forward(const LinearForward& args) = 0;
  virtual void do_linear_backward_input(const LinearBackwardInput& args) = 0;
  virtual void do_linear_backward_weight(const LinearBackwardWeight& args) = 0;
  virtual void do_bias_backward(const BiasBackward& args) = 0;
  virtual void do_cross_entropy(const CrossEntropy& args) = 0;
  virtual void do_begin_step(const BeginStep& args) = 0;
  virtual void do_add_losses(const AddLosses& args) = 0;
  virtual void do_square_parts(const SquareParts& args) = 0;
  virtual void do_norm_of_parts(const NormOfParts& args) = 0;
  virtual void do_decide_step(const DecideStep& args) = 0;
  virtual void do_decide_bucket(const DecideBucket& args) = 0;
  virtual void do_quantize(const Quantize& args) = 0;
  virtual void do_encode_weight(const EncodeWeight& args) = 0;
  virtual void do_optimizer_steps(std::span<const OptimizerStep> all) = 0;
  virtual void do_copy(const Copy& args) = 0;
  virtual void do_zero(const Zero& args) = 0;
};

/// threads 0: all CPUs of the affinity mask.
std::unique_ptr<Backend> make_cpu_backend(int threads);

}  // namespace bittern
