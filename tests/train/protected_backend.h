// ProtectedBackend: the CPU's ops behind a wall. Memory of place `device` cannot be read or written but by an op or a
// copy of the back end: an address that the host follows ends the test with a fault. Copies to the host arrive as late as
// they may, and steps are looked at one step late. So code that trains on it to the CPU's bits reaches the device's memory
// by the back end alone, and waits where it must.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bittern/backend.h"
#include "bittern/config.h"
#include "bittern/error.h"
#include "bittern/step_record.h"

namespace bittern {

class ProtectedBackend final : public Backend {
 public:
  /// Of all of them: training steps, and how often the host waited between a step's begin and its mark.
  struct Counts {
    int steps = 0, waits_inside = 0;
  };
  static Counts& counts() {
    static Counts all;
    return all;
  }
  /// What it says that it may be ahead of the host.
  static int& ahead() {
    static int steps = 1;
    return steps;
  }
  /// The step that meets an id outside the vocabulary in row 5; 0: none does.
  static int& fault_in() {
    static int step = 0;
    return step;
  }
  /// Goes where make_backend is (session.h).
  static std::unique_ptr<Backend> make(const RunSection& run) {
    return std::make_unique<ProtectedBackend>(static_cast<int>(run.threads));
  }

  explicit ProtectedBackend(int threads) : cpu_(make_cpu_backend(threads)) {}

  std::string description() const override { return cpu_->description(); }
  BackendTraits traits() const override {
    BackendTraits traits = cpu_->traits();
    traits.alignment = 256;
    traits.steps_ahead = ahead();
    traits.own_memory = true;
    return traits;
  }

  void* allocate(std::int64_t bytes, Place place) override {
    void* const memory = cpu_->allocate(bytes, place);
    if (place == Place::device && memory != nullptr) {
      device_[memory] = bytes;
      protect(PROT_NONE);
    }
    return memory;
  }
  void release(void* memory, std::int64_t bytes, Place place) override {
    if (place == Place::device) device_.erase(memory);
    cpu_->release(memory, bytes, place);
  }
  std::int64_t free_bytes(Place place) const override {
    const std::int64_t free = cpu_->free_bytes(place);
    return place == Place::host ? std::min(free, most_host_bytes) : free;
  }
  static inline std::int64_t most_host_bytes = std::numeric_limits<std::int64_t>::max();  ///< a test may lower it
  std::int64_t allocated_bytes() const override { return cpu_->allocated_bytes(); }

  void to_host(void* host, const void* device, std::int64_t bytes) override {
    note_wait();
    const Open open(*this);
    cpu_->to_host(host, device, bytes);
  }
  void from_host(void* device, const void* host, std::int64_t bytes) override {
    const Open open(*this);
    cpu_->from_host(device, host, bytes);
  }
  void synchronize() override {
    note_wait();
    deliver(last_);
  }
  Ticket mark() override {
    in_step_ = false;
    return {++last_};
  }
  /// Not at the first question: work takes its time.
  bool reached(Ticket ticket) override {
    if (ticket.number > asked_) {
      asked_ = ticket.number;
      return false;
    }
    deliver(ticket.number);
    return true;
  }
  void wait(Ticket ticket) override {
    note_wait();
    deliver(ticket.number);
  }
  void copy_out(void* host, const void* device, std::int64_t bytes) override {
    put_aside(last_ + 1, host, device, bytes);
  }
  Ticket copy_aside(std::span<const CopyOut> copies) override {
    ++last_;
    for (const CopyOut& copy : copies) put_aside(last_, copy.host, copy.device, copy.bytes);
    return {last_};
  }

  MachineLimits measure_limits(DType compute, bool stream) const override {
    return cpu_->measure_limits(compute, stream);
  }
  std::int64_t scratch_bytes(const OpArgs& args) const override { return cpu_->scratch_bytes(args); }
  std::int64_t workspace_bytes(std::span<const NotedCall> calls) const override { return cpu_->workspace_bytes(calls); }
  void bind_workspace(const Tensor& workspace) override { cpu_->bind_workspace(workspace); }

 protected:
  void do_begin_step(const BeginStep& args) override {
    const Open open(*this);
    cpu_->begin_step(args);
    in_step_ = true;
    if (++counts().steps != fault_in()) return;
    StepRecord record;
    cpu_->to_host(&record, args.record.data, sizeof record);
    record.fault = 1;  // embedding_forward
    record.fault_at = 5;
    cpu_->from_host(args.record.data, &record, sizeof record);
  }
  void do_optimizer_steps(std::span<const OptimizerStep> all) override {
    const Open open(*this);
    cpu_->optimizer_steps(all);
  }
  void do_embedding_forward(const EmbeddingForward& args) override {
    const Open open(*this);
    cpu_->embedding_forward(args);
  }
  void do_embedding_backward(const EmbeddingBackward& args) override {
    const Open open(*this);
    cpu_->embedding_backward(args);
  }
  void do_residual_rmsnorm_forward(const ResidualRmsnormForward& args) override {
    const Open open(*this);
    cpu_->residual_rmsnorm_forward(args);
  }
  void do_residual_rmsnorm_backward(const ResidualRmsnormBackward& args) override {
    const Open open(*this);
    cpu_->residual_rmsnorm_backward(args);
  }
  void do_qk_norm_rope_forward(const QkNormRopeForward& args) override {
    const Open open(*this);
    cpu_->qk_norm_rope_forward(args);
  }
  void do_qk_norm_rope_backward(const QkNormRopeBackward& args) override {
    const Open open(*this);
    cpu_->qk_norm_rope_backward(args);
  }
  void do_attention_forward(const AttentionForward& args) override {
    const Open open(*this);
    cpu_->attention_forward(args);
  }
  void do_attention_backward(const AttentionBackward& args) override {
    const Open open(*this);
    cpu_->attention_backward(args);
  }
  void do_attention_cached(const AttentionCached& args) override {
    const Open open(*this);
    cpu_->attention_cached(args);
  }
  void do_glu_forward(const GluForward& args) override {
    const Open open(*this);
    cpu_->glu_forward(args);
  }
  void do_glu_backward(const GluBackward& args) override {
    const Open open(*this);
    cpu_->glu_backward(args);
  }
  void do_linear_forward(const LinearForward& args) override {
    const Open open(*this);
    cpu_->linear_forward(args);
  }
  void do_linear_backward_input(const LinearBackwardInput& args) override {
    const Open open(*this);
    cpu_->linear_backward_input(args);
  }
  void do_linear_backward_weight(const LinearBackwardWeight& args) override {
    const Open open(*this);
    cpu_->linear_backward_weight(args);
  }
  void do_bias_backward(const BiasBackward& args) override {
    const Open open(*this);
    cpu_->bias_backward(args);
  }
  void do_cross_entropy(const CrossEntropy& args) override {
    const Open open(*this);
    cpu_->cross_entropy(args);
  }
  void do_add_losses(const AddLosses& args) override {
    const Open open(*this);
    cpu_->add_losses(args);
  }
  void do_square_parts(const SquareParts& args) override {
    const Open open(*this);
    cpu_->square_parts(args);
  }
  void do_norm_of_parts(const NormOfParts& args) override {
    const Open open(*this);
    cpu_->norm_of_parts(args);
  }
  void do_decide_step(const DecideStep& args) override {
    const Open open(*this);
    cpu_->decide_step(args);
  }
  void do_decide_bucket(const DecideBucket& args) override {
    const Open open(*this);
    cpu_->decide_bucket(args);
  }
  void do_quantize(const Quantize& args) override {
    const Open open(*this);
    cpu_->quantize(args);
  }
  void do_encode_weight(const EncodeWeight& args) override {
    const Open open(*this);
    cpu_->encode_weight(args);
  }
  void do_copy(const Copy& args) override {
    const Open open(*this);
    cpu_->copy(args);
  }
  void do_zero(const Zero& args) override {
    const Open open(*this);
    cpu_->zero(args);
  }

 private:
  /// While it lives, the device's memory can be reached.
  struct Open {
    explicit Open(ProtectedBackend& backend_) : backend(backend_) { backend.protect(PROT_READ | PROT_WRITE); }
    ~Open() { backend.protect(PROT_NONE); }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    ProtectedBackend& backend;
  };
  /// Bytes on their way: taken when they were asked for, put where they go when somebody waits for them.
  struct Late {
    std::int64_t ticket;
    void* host;
    std::vector<std::byte> bytes;
  };

  void protect(int access) {
    for (const auto& [memory, bytes] : device_)
      check(mprotect(memory, static_cast<std::size_t>((bytes + 4095) / 4096 * 4096), access) == 0,
            "mprotect refuses {} bytes", bytes);
  }
  void note_wait() { counts().waits_inside += in_step_; }
  void put_aside(std::int64_t ticket, void* host, const void* device, std::int64_t bytes) {
    const Open open(*this);
    Late late{.ticket = ticket, .host = host, .bytes = std::vector<std::byte>(static_cast<std::size_t>(bytes))};
    cpu_->to_host(late.bytes.data(), device, bytes);
    std::memset(host, 0xff, static_cast<std::size_t>(bytes));  // whoever reads it too early reads NaN
    late_.push_back(std::move(late));
  }
  void deliver(std::int64_t ticket) {
    std::erase_if(late_, [&](const Late& late) {
      if (late.ticket > ticket) return false;
      std::memcpy(late.host, late.bytes.data(), late.bytes.size());
      return true;
    });
  }

  std::unique_ptr<Backend> cpu_;
  std::map<void*, std::int64_t> device_;
  std::vector<Late> late_;
  std::int64_t last_ = 0, asked_ = 0;
  bool in_step_ = false;
};

}  // namespace bittern
