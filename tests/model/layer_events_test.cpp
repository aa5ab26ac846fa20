// LayerEvents: the order in which layers are used is told as it is, and what is told can be relied on.
#include "bittern/layer_events.h"

#include <functional>
#include <string>
#include <vector>

#include "catch.h"
#include "model/small_model.h"

using namespace bittern;

namespace {

struct Recorder final : LayerEvents {
  std::string told;
  std::function<void(int)> on_need, on_done, on_gradients;

  void need(int bucket) override { tell('n', bucket, on_need); }
  void done(int bucket) override { tell('d', bucket, on_done); }
  void gradients(int bucket) override { tell('g', bucket, on_gradients); }

 private:
  void tell(char what, int bucket, const std::function<void(int)>& then) {
    if (!told.empty()) told += ' ';
    told += what + std::to_string(bucket);
    if (then) then(bucket);
  }
};

constexpr int blocks = 3;
const ModelOptions training{.batch = 2, .sequence_length = 8, .cache_length = 12};

int bucket(const Parameter& parameter) {
  return bucket_of(parameter.spec, blocks);
}

}  // namespace

TEST_CASE("layer events: blocks are 0..L-1, final norm and head L, the embedding L+1") {
  const SmallModel untied(small_spec(small_families[0]), training);
  Recorder recorder;
  untied.model->set_events(&recorder);
  untied.forward_backward(true);
  CHECK(recorder.told == "n4 d4 n0 d0 n1 d1 n2 d2 n3 d3 g3 n2 d2 g2 n1 d1 g1 n0 d0 g0 g4");
  recorder.told.clear();
  untied.model->forward(untied.tokens, untied.targets);
  CHECK(recorder.told == "n4 d4 n0 d0 n1 d1 n2 d2 n3 d3");
  recorder.told.clear();
  untied.model->next_logits(std::vector<std::int32_t>{1, 2}, 0);
  CHECK(recorder.told == "n4 d4 n0 d0 n1 d1 n2 d2 n3 d3");

  // A tied head is the embedding, which is needed once more.
  const SmallModel tied(small_spec(small_families[1]), training);
  recorder.told.clear();
  tied.model->set_events(&recorder);
  tied.forward_backward(true);
  CHECK(recorder.told == "n4 d4 n0 d0 n1 d1 n2 d2 n3 n4 d3 d4 g3 n2 d2 g2 n1 d1 g1 n0 d0 g0 g4");
}

TEST_CASE("layer events: a bucket's gradients are final when they are told, in every micro-batch") {
  for (const SmallFamily& family : small_families) {
    CAPTURE(family.architecture, family.tied);
    const SmallModel small(small_spec(family), training);
    const auto& parameters = std::as_const(*small.model).parameters();
    std::vector<std::vector<std::byte>> when_told(parameters.size());
    Recorder recorder;
    recorder.on_gradients = [&](int told) {
      for (std::size_t i = 0; i < parameters.size(); ++i)
        if (bucket(parameters[i]) == told) when_told[i] = small.bytes(parameters[i].gradient);
    };
    small.model->set_events(&recorder);
    for (const bool first : {true, false}) {
      for (auto& bytes : when_told) bytes.clear();
      small.forward_backward(first);
      CHECK((when_told == small.gradients()));
    }
  }
}

TEST_CASE("layer events: weights are read between need and done alone") {
  for (const SmallFamily& family : small_families)
    for (const bool recompute : {false, true}) {
      CAPTURE(family.architecture, family.tied, recompute);
      ModelOptions options = training;
      options.recompute_blocks = recompute;
      const SmallModel plain(small_spec(family), options), absent(small_spec(family), options);
      const auto& parameters = std::as_const(*absent.model).parameters();
      std::vector<std::vector<std::byte>> weights;
      for (const Parameter& parameter : parameters) {
        weights.push_back(absent.bytes(parameter.weight));
        absent.fill(parameter.weight, 0xff);
      }
      Recorder recorder;
      recorder.on_need = [&](int told) {
        for (std::size_t i = 0; i < parameters.size(); ++i)
          if (bucket(parameters[i]) == told) absent.write(parameters[i].weight, weights[i]);
      };
      recorder.on_done = [&](int told) {
        for (const Parameter& parameter : parameters)
          if (bucket(parameter) == told) absent.fill(parameter.weight, 0xff);
      };
      absent.model->set_events(&recorder);
      for (const bool first : {true, false})
        CHECK(absent.forward_backward(first).loss == plain.forward_backward(first).loss);
      CHECK((absent.gradients() == plain.gradients()));
      CHECK((absent.model->logits(absent.tokens) == plain.model->logits(plain.tokens)));
      const std::vector<std::int32_t> prompt(plain.tokens.begin(), plain.tokens.begin() + 5);
      CHECK((absent.model->next_logits(prompt, 0) == plain.model->next_logits(prompt, 0)));
    }
}
