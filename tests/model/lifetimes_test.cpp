// Lives of tensors: with everything that the plan calls dead filled with NaN between the points of a step, training,
// evaluation and generation give the same bits as without.
#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "bittern/layer_events.h"
#include "bittern/poison.h"
#include "catch.h"
#include "model/small_model.h"

using namespace bittern;

namespace {

/// What a pass gives, bit for bit.
struct Results {
  std::vector<double> losses;
  std::vector<std::vector<std::byte>> gradients;
  std::vector<float> logits;
  bool operator==(const Results&) const = default;
};

/// The gradients when they are final; with gradients_by_layer they do not live longer.
struct FinalGradients final : LayerEvents {
  const SmallModel& small;
  Results& results;
  FinalGradients(const SmallModel& small_, Results& results_) : small(small_), results(results_) {}
  void need(int) override {}
  void done(int) override {}
  void gradients(int bucket) override {
    for (const Parameter& parameter : std::as_const(*small.model).parameters())
      if (bucket_of(parameter.spec, static_cast<int>(small.model->spec().num_hidden_layers)) == bucket)
        results.gradients.push_back(small.bytes(parameter.gradient));
  }
};

Results run(const ModelSpec& spec, const ModelOptions& options, bool poisoned) {
  const SmallModel small(spec, options);
  Transformer& model = *small.model;
  Poison poison(*small.backend, *small.arena);
  if (poisoned) model.on_point([&](Point point) { poison.reach(point); });
  Results results;
  FinalGradients final_gradients(small, results);
  model.set_events(&final_gradients);
  const auto note = [&](const LossSums& sums) {
    results.losses.push_back(sums.loss);
    results.losses.push_back(sums.lse_squared);
  };
  const auto append = [&](const std::vector<float>& values) {
    results.logits.insert(results.logits.end(), values.begin(), values.end());
  };
  const std::vector<std::int32_t> prompt(small.tokens.begin(), small.tokens.begin() + 5);
  if (options.training)
    for (int step = 0; step < 2; ++step) {
      // What the gradients held before a step's first micro-batch is dead as well.
      for (const Parameter& parameter : model.parameters())
        if (poisoned) small.fill(parameter.gradient, 0xff);
      note(small.forward_backward(true));
      if (!options.gradients_by_layer) note(small.forward_backward(false));
      note(model.forward(small.tokens, small.targets));
      append(model.next_logits(prompt, 0));
      append(model.next_logits(std::vector<std::int32_t>{3}, 5));
    }
  note(model.forward(small.tokens, small.targets));
  append(model.logits(small.tokens));
  append(model.next_logits(prompt, 0));
  append(model.next_logits(std::vector<std::int32_t>{3}, 5));
  if (poisoned) CHECK(poison.filled_bytes() > 0);
  return results;
}

}  // namespace

TEST_CASE("lifetimes: no dead memory is read, in any family, with any activations, recomputed or kept") {
  for (const SmallFamily& family : small_families)
    for (const std::optional<DType> activations :
         {std::optional<DType>(), std::optional(DType::e4m3), std::optional(DType::i8)})
      for (const bool training : {true, false})
        for (const bool recompute : {false, true}) {
          if (recompute && !training) continue;
          CAPTURE(family.architecture, family.tied, training, recompute);
          CAPTURE(activations ? name(*activations) : "compute");
          const ModelOptions options{.batch = 2,
                                     .sequence_length = 16,
                                     .compute = DType::bf16,
                                     .residual = DType::bf16,
                                     .activations = activations,
                                     .training = training,
                                     .recompute_blocks = recompute,
                                     .head_rows = 12,
                                     .cache_length = 20,
                                     .z_loss = 1e-3f};
          const ModelSpec spec = small_spec(family);
          CHECK((run(spec, options, true) == run(spec, options, false)));
        }
}

TEST_CASE("lifetimes: gradients that live in their layer alone are those that are kept, and no dead one is read") {
  for (const SmallFamily& family : small_families)
    for (const bool recompute : {false, true}) {
      CAPTURE(family.architecture, family.tied, recompute);
      ModelOptions options{
          .batch = 2, .sequence_length = 16, .recompute_blocks = recompute, .head_rows = 12, .cache_length = 20};
      options.gradients_by_layer = true;
      const ModelSpec spec = small_spec(family);
      const Results results = run(spec, options, false);
      CHECK((run(spec, options, true) == results));
      options.gradients_by_layer = false;
      const SmallModel kept(spec, options);
      Results all;
      FinalGradients final_gradients(kept, all);
      kept.model->set_events(&final_gradients);
      kept.forward_backward(true);
      REQUIRE(all.gradients.size() == kept.model->parameters().size());
      CHECK(std::ranges::equal(all.gradients, std::span(results.gradients).first(all.gradients.size())));
    }
}

TEST_CASE("lifetimes: recomputation gives the bits of what was kept") {
  for (const SmallFamily& family : small_families) {
    CAPTURE(family.architecture);
    ModelOptions options{.batch = 2, .sequence_length = 16, .cache_length = 20};
    const Results kept = run(small_spec(family), options, false);
    options.recompute_blocks = true;
    CHECK((run(small_spec(family), options, false) == kept));
  }
}
