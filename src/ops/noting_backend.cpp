// The back end that notes calls and runs none of them.
#include "bittern/noting_backend.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace bittern {

void* NotingBackend::allocate(std::int64_t bytes, Place) {
  constexpr std::uintptr_t page = 4096;
  if (bytes == 0) return nullptr;
  const std::uintptr_t address = next_address_;
  next_address_ += (static_cast<std::uintptr_t>(bytes) + page - 1) / page * page;
  return reinterpret_cast<void*>(address);
}

std::int64_t NotingBackend::free_bytes(Place) const {
  return std::numeric_limits<std::int64_t>::max();
}

void NotingBackend::to_host(void* host, const void*, std::int64_t bytes) {
  if (bytes > 0) std::memset(host, 0, static_cast<std::size_t>(bytes));
}

Ticket NotingBackend::copy_aside(std::span<const CopyOut> copies) {
  for (const CopyOut& copy : copies) to_host(copy.host, copy.device, copy.bytes);
  return {};
}

void NotingBackend::add(const NotedCall& call) {
  const auto alike = [&](const NotedCall& other) {
    return other.op == call.op && other.cost == call.cost && other.scratch == call.scratch;
  };
  const auto found = std::find_if(calls_.begin(), calls_.end(), alike);
  if (found == calls_.end())
    calls_.push_back(call);
  else
    found->times += call.times;
}

template <class Args>
void NotingBackend::note(const Args& args) {
  add({.op = args.name, .cost = cost_of(args), .scratch = device_.scratch_bytes(args), .times = times_});
}

// One call, whose parameters are updated one after another in the same scratch.
void NotingBackend::do_optimizer_steps(std::span<const OptimizerStep> all) {
  NotedCall call{.op = OptimizerStep::name, .cost = {}, .times = times_};
  for (const OptimizerStep& args : all) {
    const Cost own = cost_of(args);
    call.cost.bytes += own.bytes;
    call.cost.flops += own.flops;
    call.scratch = std::max(call.scratch, device_.scratch_bytes(args));
  }
  add(call);
}

void NotingBackend::do_embedding_forward(const EmbeddingForward& args) {
  note(args);
}
void NotingBackend::do_embedding_backward(const EmbeddingBackward& args) {
  note(args);
}
void NotingBackend::do_residual_rmsnorm_forward(const ResidualRmsnormForward& args) {
  note(args);
}
void NotingBackend::do_residual_rmsnorm_backward(const ResidualRmsnormBackward& args) {
  note(args);
}
void NotingBackend::do_qk_norm_rope_forward(const QkNormRopeForward& args) {
  note(args);
}
void NotingBackend::do_qk_norm_rope_backward(const QkNormRopeBackward& args) {
  note(args);
}
void NotingBackend::do_attention_forward(const AttentionForward& args) {
  note(args);
}
void NotingBackend::do_attention_backward(const AttentionBackward& args) {
  note(args);
}
void NotingBackend::do_attention_cached(const AttentionCached& args) {
  note(args);
}
void NotingBackend::do_glu_forward(const GluForward& args) {
  note(args);
}
void NotingBackend::do_glu_backward(const GluBackward& args) {
  note(args);
}
void NotingBackend::do_linear_forward(const LinearForward& args) {
  note(args);
}
void NotingBackend::do_linear_backward_input(const LinearBackwardInput& args) {
  note(args);
}
void NotingBackend::do_linear_backward_weight(const LinearBackwardWeight& args) {
  note(args);
}
void NotingBackend::do_bias_backward(const BiasBackward& args) {
  note(args);
}
void NotingBackend::do_cross_entropy(const CrossEntropy& args) {
  note(args);
}
void NotingBackend::do_begin_step(const BeginStep& args) {
  note(args);
}
void NotingBackend::do_add_losses(const AddLosses& args) {
  note(args);
}
void NotingBackend::do_square_parts(const SquareParts& args) {
  note(args);
}
void NotingBackend::do_norm_of_parts(const NormOfParts& args) {
  note(args);
}
void NotingBackend::do_decide_step(const DecideStep& args) {
  note(args);
}
void NotingBackend::do_decide_bucket(const DecideBucket& args) {
  note(args);
}
void NotingBackend::do_quantize(const Quantize& args) {
  note(args);
}
void NotingBackend::do_encode_weight(const EncodeWeight& args) {
  note(args);
}
void NotingBackend::do_copy(const Copy& args) {
  note(args);
}
void NotingBackend::do_zero(const Zero& args) {
  note(args);
}

}  // namespace bittern
