// Ids outside the vocabulary are refused before they reach the back end: no op reads ids before it runs.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bittern/model.h"
#include "catch.h"

using namespace bittern;

namespace {

/// Ten tokens; batches of one sequence of three.
struct SmallModel {
  std::unique_ptr<Backend> backend = make_cpu_backend(1);
  Plan plan;
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Arena> arena;

  SmallModel() {
    const ModelSpec spec{.vocab_size = 10,
                         .hidden_size = 4,
                         .num_hidden_layers = 1,
                         .num_attention_heads = 1,
                         .num_key_value_heads = 1,
                         .head_dim = 4,
                         .intermediate_size = 4,
                         .max_position_embeddings = 3};
    model = std::make_unique<Transformer>(*backend, spec,
                                          ModelOptions{.batch = 1, .sequence_length = 3, .cache_length = 3}, plan);
    const TensorId workspace =
        plan.add("workspace", Shape{backend->workspace_bytes({}) + (1 << 20)}, DType::u8, Category::scratch);
    plan.lay_out();
    arena = std::make_unique<Arena>(*backend, plan);
    backend->bind_workspace(arena->view(workspace));
    model->bind(*arena);
    model->initialize(1);
  }
};

using Ids = std::vector<std::int32_t>;

}  // namespace

TEST_CASE("model: a token outside the vocabulary is named, in training, evaluation and generation") {
  const SmallModel m;
  for (const std::int32_t bad : {10, -1, 2147483647}) {
    const std::string sentence =
        fmt::format("model: token {} of row 2 is outside the vocabulary; expected 0 to 9", bad);
    const Ids tokens = {0, 9, bad}, targets = {9, 1, -1};
    CHECK_THROWS_WITH(m.model->forward_backward({tokens, targets, 2}, {}, true), sentence);
    CHECK_THROWS_WITH(m.model->forward(tokens, targets), sentence);
    CHECK_THROWS_WITH(m.model->logits(tokens), sentence);
    CHECK_THROWS_WITH(m.model->next_logits(tokens, 0), sentence);
  }
}

TEST_CASE("model: a target outside the vocabulary is named; -1 is none") {
  const SmallModel m;
  const Ids tokens = {0, 9, 5};
  for (const std::int32_t bad : {10, -2, -100}) {
    const Ids targets = {1, bad, 2};
    CHECK_THROWS_WITH(
        m.model->forward_backward({tokens, targets, 3}, {}, true),
        fmt::format("model: target {} of row 1 is outside the vocabulary; expected 0 to 9, or -1 to ignore the row",
                    bad));
  }
  CHECK(m.model->forward(tokens, Ids{-1, 0, 9}).targets == 2);
}
