// The squares of a bucket are taken as soon as its gradients are final, in the last micro-batch alone, and the norm has
// the bits of one that is made of all gradients at the end.
#include "train/session/gradient_buckets.h"

#include <vector>

#include "bittern/step_record_tensors.h"
#include "train/trained_model.h"

using namespace bittern;

namespace {

struct Norm {
  float norm, clip;
  std::vector<double> parts;
  bool operator==(const Norm&) const = default;
};

RunConfig tiny(bool tied, std::int64_t micro_batches) {
  return with_weights(
      "", {tied ? "model.tie_word_embeddings=true" : "model.tie_word_embeddings=false", "optimizer.clip_grad_norm=0.1",
           fmt::format("train.batch_sequences={}", 2 * micro_batches), "train.micro_batch_sequences=2"});
}

/// The norm of a step of so many micro-batches; with `at_end`, from all gradients when they are there.
Norm norm_of_step(bool tied, std::int64_t micro_batches, bool at_end) {
  const Trained trained(tiny(tied, micro_batches));
  Session& run = *trained.run;
  const Tensor record = run.optimizer->record(*run.arena);
  TensorId squares;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(run.plan.tensors().size()); ++i)
    if (run.plan[TensorId{i}].name == "gradient_squares") squares = {i};
  const Tensor parts = run.arena->view(squares);
  std::vector<double> values(static_cast<std::size_t>(parts.bytes()) / sizeof(double), -1.0);
  run.backend->from_host(parts.data, values.data(), parts.bytes());  // what no bucket writes shows
  run.backend->begin_step({.record = record});
  {
    std::vector<std::int32_t> ids(Trained::B * Trained::T);
    std::optional<GradientBuckets> buckets;
    if (!at_end) buckets.emplace(*run.model, *run.optimizer, *run.arena, nullptr);
    for (std::int64_t i = 0; i < micro_batches; ++i) {
      for (std::size_t n = 0; n < ids.size(); ++n)
        ids[n] = static_cast<std::int32_t>((5 * n + 7 * static_cast<std::size_t>(i)) % Trained::vocabulary);
      if (buckets && i + 1 == micro_batches) buckets->measure();
      run.model->forward_backward({.tokens = ids, .targets = ids, .total_targets = 1}, sums_of(record), i == 0);
      if (i + 1 == micro_batches) break;
      run.backend->to_host(values.data(), parts.data, parts.bytes());
      CHECK(values == std::vector<double>(values.size(), -1.0));  // not before the last one
    }
  }
  if (at_end) run.optimizer->square_parts(*run.arena, run.model->parameters());
  run.optimizer->decide(*run.arena);
  run.backend->to_host(values.data(), parts.data, parts.bytes());
  const StepRecord after = record_of(run);
  CHECK(after.norm > 0.1f);
  CHECK(after.clip < 1.0f);
  return {after.norm, after.clip, values};
}

}  // namespace

TEST_CASE("gradient buckets: a bucket at a time, the norm and its parts have the bits of all at the end") {
  for (const bool tied : {false, true})
    for (const std::int64_t micro_batches : {1, 3}) {
      CAPTURE(tied, micro_batches);
      CHECK((norm_of_step(tied, micro_batches, false) == norm_of_step(tied, micro_batches, true)));
    }
}

TEST_CASE("gradient buckets: the model tells nobody once they are gone") {
  const Trained trained(tiny(false, 1));
  Session& run = *trained.run;
  { const GradientBuckets buckets(*run.model, *run.optimizer, *run.arena, nullptr); }
  const std::vector<std::int32_t> ids(Trained::B * Trained::T, 1);
  CHECK_NOTHROW(forward_backward(run, ids, ids, 1, true));
}
