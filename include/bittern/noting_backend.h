// NotingBackend: a back end that runs nothing and has no memory. It notes every op that it is asked for, after the checks
// that all back ends share. A model or an optimizer that is made on it tells what a step will do and cost: its forward and
// backward run, their ops do not.
//
// Its addresses are distinct and nothing lies there. What is copied from it is zeros.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bittern/backend.h"
#include "bittern/noted_call.h"
#include "bittern/tensor.h"

namespace bittern {

class NotingBackend final : public Backend {
 public:
  /// Notes what calls are on `device`, whose traits it has.
  explicit NotingBackend(const Backend& device) : device_(device) {}

  /// How often a step makes the calls that follow; 0: they are not a step's.
  void set_times(std::int64_t times) { times_ = times; }
  /// In the order of the first one of each.
  const std::vector<NotedCall>& calls() const { return calls_; }

  std::string description() const override { return "noting"; }
  BackendTraits traits() const override { return device_.traits(); }
  void* allocate(std::int64_t bytes, Place place) override;
  void release(void*, std::int64_t, Place) override {}
  std::int64_t free_bytes(Place) const override;
  std::int64_t allocated_bytes() const override { return 0; }
  void to_host(void* host, const void* device, std::int64_t bytes) override;
  void from_host(void*, const void*, std::int64_t) override {}
  void synchronize() override {}
  Ticket mark() override { return {}; }
  bool reached(Ticket) override { return true; }
  void wait(Ticket) override {}
  void copy_out(void* host, const void* device, std::int64_t bytes) override { to_host(host, device, bytes); }
  Ticket copy_aside(std::span<const CopyOut> copies) override;
  MachineLimits measure_limits(DType, bool) const override { return {}; }
  std::int64_t scratch_bytes(const OpArgs& args) const override { return device_.scratch_bytes(args); }
  std::int64_t workspace_bytes(std::span<const NotedCall> calls) const override {
    return device_.workspace_bytes(calls);
  }
  void bind_workspace(const Tensor&) override {}

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
  void do_copy(const Copy& args) override;
  void do_zero(const Zero& args) override;
  void do_optimizer_steps(std::span<const OptimizerStep> all) override;

 private:
  template <class Args>
  void note(const Args& args);
  void add(const NotedCall& call);

  const Backend& device_;
  std::int64_t times_ = 1;
  std::uintptr_t next_address_ = std::uintptr_t{1} << 46;  // far from everything that the system gives
  std::vector<NotedCall> calls_;
};

}  // namespace bittern
