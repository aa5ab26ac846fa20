// CudaBackend: the op list on an NVIDIA GPU. Each op is a member function do_NAME in cuda/OP.cpp, compiled by g++, which
// unpacks the arguments and calls the launcher of cuda/OP.cu with plain pointers and numbers. What an op checks and costs
// is in src/ops/NAME.cpp, for all back ends.
//
// All ops run in one stream, in the order in which they were given. No op waits, allocates, or reads the device's memory
// from the host.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "bittern/backend.h"
#include "bittern/cuda_backend.h"
#include "bittern/step_record.h"
#include "bittern/tensor.h"
#include "cuda/runtime.h"
#include "cuda/scratch.h"
#include "cuda/staging.h"

namespace bittern::cuda {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options);
  ~CudaBackend() override;

  std::string description() const override;
  BackendTraits traits() const override;

  void* allocate(std::int64_t bytes, Place place) override;
  void release(void* memory, std::int64_t bytes, Place place) override;
  std::int64_t free_bytes(Place place) const override;
  std::int64_t allocated_bytes() const override { return allocated_; }
  void to_host(void* host, const void* device, std::int64_t bytes) override;
  /// Returns when the host's memory is free again; the copy itself may be still to come, before the ops that follow.
  void from_host(void* device, const void* host, std::int64_t bytes) override;
  void synchronize() override;
  Ticket mark() override;
  bool reached(Ticket ticket) override;
  void wait(Ticket ticket) override;
  void copy_out(void* host, const void* device, std::int64_t bytes) override;
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
  /// What exists only where there is a GPU.
  struct Device {
    Stream stream;     // of all ops
    Stream aside;      // of copies beside them
    Event aside_done;  // the last of these copies
    Staging staging;
    Device();
  };

  Device& device() const;
  cudaStream_t stream() const { return device().stream; }

  /// The scratch of this call, 256-byte aligned, content undefined; null where it needs none. Fails, naming the op, if the
  /// workspace that was bound is too small for it.
  template <class Args>
  void* scratch(const Args& args) const {
    return scratch(args.name, scratch_for(args));
  }
  void* scratch(std::string_view op, std::int64_t bytes) const;

  /// To be called after every launch: throws what CUDA says of it, and of work before it, without waiting.
  template <class Args>
  void launched(const Args& args) const {
    if (const cudaError_t error = cudaPeekAtLastError(); error != cudaSuccess) [[unlikely]]
      launch_failed(error, args.name);
    if (wait_after_each_) [[unlikely]]
      wait_after(args.name);
  }
  [[noreturn]] void launch_failed(cudaError_t error, std::string_view op) const;
  void wait_after(std::string_view op) const;

  /// What follows in the stream runs after all copies aside: the first thing that an update does.
  void join_copies_aside();

  Ticket mark_in(cudaStream_t stream);

  std::unique_ptr<Backend> cpu_;    // encodes weights from the host's floats
  std::unique_ptr<Device> device_;  // none for a plan alone
  std::string description_;
  Tensor workspace_;
  StepRecord* record_ =
      nullptr;  // of the step under way, in the device's memory, for faults; none before the first step
  std::map<std::int64_t, Event> marks_;  // by ticket, until they are known to be reached
  std::int64_t last_ticket_ = 0, allocated_ = 0;
  bool copies_aside_ = false;     // some were given since the last update
  bool wait_after_each_ = false;  // BITTERN_CUDA_SYNC: wait after every op, to find the one that fails
};

}  // namespace bittern::cuda
