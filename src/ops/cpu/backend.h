// CpuBackend: the op list on the CPU. Each op is a member function defined in its own file, in three layers: a kernel
// on raw pointers, a launcher that shares it between threads, and the member function, which checks its tensors.
//
// The workspace is two regions: the GEMM's panels (their size follows from the machine alone), then one scratch that
// belongs to whichever op runs: ops run one after another, so each asks for scratch_bytes from its start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "bittern/ops.h"
#include "bittern/tensor.h"

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
  std::int64_t workspace_bytes(const WorkspaceNeeds& needs) const override;
  void bind_workspace(const Tensor& workspace) override;

  void zero(const Tensor& x) override;
  void copy(const Tensor& to, const Tensor& from) override;

  void embedding_forward(const Tensor& out, const Tensor& w, const Tensor& tokens) override;
  void embedding_backward(const Tensor& dw, const Tensor& dout, const Tensor& tokens) override;

  void residual_rmsnorm_forward(const Tensor& sum, const Tensor& n, const Tensor& rstd, const Tensor& x,
                                const Tensor& y, const Tensor& w, float eps) override;
  void residual_rmsnorm_backward(const Tensor& dx, const Tensor& dw, const Tensor& dn, const Tensor& sum,
                                 const Tensor& rstd, const Tensor& w) override;

  void qk_norm_rope_forward(const QkNormRope& args) override;
  void qk_norm_rope_backward(const QkNormRope& args, const Tensor& dqkv, const Tensor& dq_norm,
                             const Tensor& dk_norm) override;

  void attention_forward(const Attention& args) override;
  void attention_backward(const Attention& args, const Tensor& dqkv, const Tensor& dout) override;
  void attention_cached(const Tensor& out, const Tensor& qkv, const Tensor& k_cache, const Tensor& v_cache,
                        const AttentionShape& shape, std::int64_t first_position) override;

  void swiglu_forward(const Tensor& out, const Tensor& gate_up) override;
  void swiglu_backward(const Tensor& gate_up, const Tensor& out, const Tensor& dout) override;

  void linear_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, DType compute) override;
  void linear_backward_input(const Tensor& dx, const Tensor& dy, const Tensor& w, DType compute) override;
  void linear_backward_weight(const Tensor& dw, const Tensor& dy, const Tensor& x, bool accumulate,
                              DType compute) override;
  void bias_backward(const Tensor& dbias, const Tensor& dy) override;

  void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& loss, const Tensor& lse_squared,
                     float scale, float z_loss, bool backward) override;

  void global_norm(const Tensor& norm, std::span<const Tensor> gradients, float max_norm) override;

  void quantize(const Tensor& q, const Tensor& x) override;
  void encode_weight(const Tensor& weight, std::span<const float> values, const WeightCodec& codec) override;
  void optimizer_step(const OptimizerStep& args) override;

 private:
  /// The first `bytes` bytes of the scratch, 64-byte aligned, content undefined. Fails, naming the op, if the workspace
  /// that was bound is too small for it.
  void* scratch(std::string_view op, std::int64_t bytes) const;
  /// For an output that is codes, what OutputRows (quantize_rows.h) makes its rows in; else null.
  float* row_buffers(std::string_view op, const Tensor& out) const;

  std::span<std::byte> gemm_workspace_, scratch_;
  std::int64_t allocated_ = 0;
};

/// Scratch that cross_entropy needs for each thread, in floats (cross_entropy.cpp).
std::int64_t cross_entropy_scratch_floats(std::int64_t V);

/// Scratch of optimizer_step for parameters of at most so many rows and columns (optimizer_step.cpp).
std::int64_t optimizer_scratch_bytes(std::int64_t max_rows, std::int64_t max_cols);

}  // namespace bittern::cpu
