// Runs the passes of a step (train/step.cpp) on a back end that notes their ops.
#include "train/session/noted_calls.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <utility>

#include "bittern/error.h"
#include "bittern/noting_backend.h"
#include "bittern/optimizer.h"
#include "bittern/plan.h"
#include "bittern/step_record_tensors.h"
#include "bittern/token_order.h"
#include "train/session/gradient_buckets.h"

namespace bittern {
namespace {

/// Ids of a micro-batch, and their order. Memory that is only read: the system gives no page of its own for it, so that
/// a plan of any size costs none.
class Zeros {
 public:
  explicit Zeros(std::size_t count) : memory_(static_cast<std::int32_t*>(std::calloc(count, sizeof(std::int32_t)))) {
    check(memory_ != nullptr || count == 0, "no memory for {} ids of a micro-batch", count);
  }
  ~Zeros() { std::free(memory_); }
  Zeros(const Zeros&) = delete;
  Zeros& operator=(const Zeros&) = delete;
  std::span<const std::int32_t> numbers(std::size_t count) const { return {memory_, count}; }

 private:
  std::int32_t* memory_;
};

}  // namespace

std::vector<NotedCall> noted_calls(const Backend& device, const RunConfig& config, const ModelOptions& options) {
  NotingBackend backend(device);
  Plan plan(backend.traits().alignment);
  Transformer model(backend, config.model, options, plan);
  std::optional<Optimizer> optimizer;
  if (options.training) optimizer.emplace(backend, config, model.parameters(), plan);
  plan.lay_out();
  const Arena arena(backend, plan);
  model.bind(arena);

  const std::int64_t rows = options.batch * options.sequence_length;
  const Zeros zeros(static_cast<std::size_t>(token_order_size(rows)));
  const std::span<const std::int32_t> ids = zeros.numbers(static_cast<std::size_t>(rows)),
                                      order = zeros.numbers(static_cast<std::size_t>(token_order_size(rows)));
  if (options.training) {
    const std::int64_t micro_batches = config.train.batch_sequences / options.batch;
    const Tensor record = optimizer->record(arena);
    const bool fused = config.train.fused_backward, twice = fused && config.train.fused_clip == "exact";
    const auto update = [&](std::span<const Parameter> parameters) {
      optimizer->step(arena, parameters, 1e-3, 0, 1, 1);
    };
    GradientBuckets buckets(model, *optimizer, arena, nullptr);
    backend.begin_step({.record = record});
    const auto pass = [&](std::int64_t times, bool first, bool last) {
      if (times <= 0) return;
      backend.set_times(times);
      if (last && fused && !twice)
        buckets.measure_and_update(update);
      else if (last)
        buckets.measure();
      model.forward_backward({.tokens = ids, .targets = ids, .total_targets = 1, .order = order}, sums_of(record),
                             first);
    };
    pass(1, true, micro_batches == 1);
    pass(micro_batches - 2, false, false);  // those between the first and the last are alike
    pass(micro_batches > 1 ? 1 : 0, false, true);
    if (!fused || twice) optimizer->decide(arena);
    if (!fused) update(std::as_const(model).parameters());
    if (twice) {
      buckets.update(update);
      model.forward_backward({.tokens = ids, .targets = ids, .total_targets = 1, .order = order}, {}, true);
    }
  }
  backend.set_times(0);
  model.forward(ids, ids);
  if (options.cache_length > 0) {
    // A prompt goes through in pieces of which one is like the other, then token by token.
    const std::int64_t prompt = std::min<std::int64_t>(options.cache_length, 256);
    model.next_logits(std::vector<std::int32_t>(static_cast<std::size_t>(prompt)), 0);
    model.next_logits(std::vector<std::int32_t>(1), 0);
  }
  return backend.calls();
}

std::map<std::string_view, OpCost> step_costs(std::span<const NotedCall> calls) {
  std::map<std::string_view, OpCost> costs;
  for (const NotedCall& call : calls) {
    if (call.times == 0) continue;
    OpCost& sum = costs[call.op];
    sum.calls += call.times;
    sum.bytes += static_cast<double>(call.times) * call.cost.bytes;
    sum.flops += static_cast<double>(call.times) * call.cost.flops;
  }
  return costs;
}

}  // namespace bittern
