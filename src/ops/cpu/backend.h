// CpuBackend: the op list on the CPU. Each op is a member function do_NAME defined in its own file, in three layers: a
// kernel on raw pointers, a launcher that shares it between threads, and the member function, which gives the launcher
// the types and the scratch. What an op checks and costs is in src/ops/NAME.cpp, for all back ends.
//
// The workspace is two regions: the GEMM's panels (their size follows from the machine alone), then one scratch that
// belongs to whichever op runs: ops run one after another, so each begins at its start (scratch.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "bittern/backend.h"
#include "bittern/tensor.h"
#include "ops/cpu/scratch.h"

namespace bittern::cpu {

class CpuBackend final : public Backend {
 public:
  /// threads 0: all CPUs of the affinity mask.
  explicit CpuBackend(int threads);

  std::string description() const override;

  BackendTraits traits() const override;

  /// The host's memory is the device's, and work is done when its function returns: no ticket needs waiting for.
  void* allocate(std::int64_t bytes, Place place) override;
  void release(void* memory, std::int64_t bytes, Place place) override;
  std::int64_t free_bytes(Place place) const override;
  std::int64_t allocated_bytes() const override { return allocated_; }
  void to_host(void* host, const void* device, std::int64_t bytes) override;
  void from_host(void* device, const void* host, std::int64_t bytes) override;
  void synchronize() override {}
  Ticket mark() override { return {}; }
  bool reached(Ticket) override { return true; }
  void wait(Ticket) override {}
  void copy_out(void* host, const void* device, std::int64_t bytes) override { to_host(host, device, bytes); }
  Ticket copy_aside(std::span<const CopyOut> copies) override;
  MachineLimits measure_limits(DType compute, bool stream) const override;
  std::int64_t scratch_bytes(const OpArgs& args) const override;
  std::int64_t workspace_bytes(std::span<const NotedCall> calls) const override;
  void bind_workspace(const Tensor& workspace) override;

 protected:
  void do_embedding_forward(const EmbeddingForward& args) override;
  void do_embedding_backward(const EmbeddingBackward& args) override;
  void do_residual_rmsnorm_forward(const ResidualRmsnormForward& args) override;
  void do_residual_rmsnorm_backward(const ResidualRmsnormBackward& args) override;
  void do_qk_norm_rope_forward(const QkNormRopeForward& args) override;
  void do_qk_norm_rope_backward(const QkNormRopeBackward& args) override;
  void do_attention_forward(const AttentionForward& args) override;
  void do_attention_backward(const AttentionBackward& args) override;
  void do_attention_cached(const AttentionCached& args) override;
  void do_glu_forward(const GluForward& args) override;
  void do_glu_backward(const GluBackward& args) override;
  void do_linear_forward(const LinearForward& args) override;
  void do_linear_backward_input(const LinearBackwardInput& args) override;
  void do_linear_backward_weight(const LinearBackwardWeight& args) override;
  void do_bias_backward(const BiasBackward& args) override;
  void do_cross_entropy(const CrossEntropy& args) override;
  void do_begin_step(const BeginStep& args) override;
  void do_add_losses(const AddLosses& args) override;
  void do_square_parts(const SquareParts& args) override;
  void do_norm_of_parts(const NormOfParts& args) override;
  void do_decide_step(const DecideStep& args) override;
  void do_decide_bucket(const DecideBucket& args) override;
  void do_quantize(const Quantize& args) override;
  void do_encode_weight(const EncodeWeight& args) override;
  void do_optimizer_steps(std::span<const OptimizerStep> all) override;
  void do_copy(const Copy& args) override;
  void do_zero(const Zero& args) override;

 private:
  /// The scratch of this call, 64-byte aligned, content undefined; null where it needs none. Fails, naming the op, if
  /// the workspace that was bound is too small for it.
  template <class Args>
  void* scratch(const Args& args) const {
    return scratch(args.name, scratch_for(args));
  }
  void* scratch(std::string_view op, std::int64_t bytes) const;
  void update_parameter(const OptimizerStep& args);

  std::span<std::byte> gemm_workspace_, scratch_;
  std::int64_t allocated_ = 0;
};

}  // namespace bittern::cpu
