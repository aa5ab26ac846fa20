// What is noted of a step is what a step does: op by op the calls, FLOPs and bytes that a profile of it reports.
#include "train/session/noted_calls.h"

#include <optional>

#include "train/session/set_up.h"
#include "train/step.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;

namespace {

std::map<std::string_view, OpCost> profile_of_a_step(Training& t) {
  const Batch batch(*t.session, t.state.step + 1);
  Profile profile;
  Profile::current() = &profile;
  const std::optional<StepMetrics> metrics = train_step(*t.session, t.state, batch);
  Profile::current() = nullptr;
  REQUIRE(metrics);
  REQUIRE_FALSE(metrics->skipped);
  return profile.costs();
}

}  // namespace

TEST_CASE("noted calls: calls, FLOPs and bytes of every op are those of a step's profile") {
  const char* const extras[] = {
      "{}",
      R"({"model": {"architecture": "qwen2"}, "precision": {"compute": "bf16", "activations": "fp8_e4m3_row"},
          "weights": {"block_linear": {"codec": "fp8_e4m3", "scale_per": "row", "error_feedback": "eco"}}})",
      R"({"model": {"architecture": "qwen3", "head_dim": 8, "tie_word_embeddings": true}, "train": {"recompute": "block"}})",
      R"({"model": {"architecture": "bitnet"}, "precision": {"activations": "int8_token"},
          "train": {"micro_batch_sequences": 1, "head_rows": 7},
          "weights": {"block_linear": {"codec": "ternary", "scale_from": "absmean", "scale_per": "tensor", "master": "f32"}}})",
      R"({"train": {"micro_batch_sequences": 0, "fused_backward": true}, "model": {"tie_word_embeddings": true}})",
      R"({"train": {"micro_batch_sequences": 0, "fused_backward": true, "fused_clip": "exact"}})",
      R"({"train": {"micro_batch_sequences": 4}, "optimizer": {"states": {"m": "de4", "v": "rank1_linear4", "block": 16}}})",
  };
  for (const char* extra : extras) {
    INFO(extra);
    const Scratch scratch("noted_calls");
    Console console{2};
    Training t = set_up_training(config(extra), {.out = scratch.path + "/run"}, console);
    const auto noted = step_costs(t.session->calls), run = profile_of_a_step(t);
    stop_logging();
    CHECK(noted.size() == run.size());
    for (const auto& [op, cost] : run) {
      INFO(op);
      REQUIRE(noted.contains(op));
      CHECK(noted.at(op).calls == cost.calls);
      CHECK(noted.at(op).flops == cost.flops);
      CHECK(noted.at(op).bytes == cost.bytes);
    }
  }
}

TEST_CASE("noted calls: linears do 6 FLOPs a token for every weight of a matrix, which flops_per_token counts") {
  const auto session = Session::for_training(config(R"({"model": {"vocab_size": 300}})"), 0);
  const auto costs = step_costs(session->calls);
  const double tokens = 4 * 24, layers = 2, T = 24, query_cols = 32;
  const double linears = costs.at("linear_forward").flops + costs.at("linear_backward_input").flops +
                         costs.at("linear_backward_weight").flops;
  // Attention's share of flops_per_token: the usual count of six half products a token and layer.
  CHECK(linears == tokens * (session->model->flops_per_token() - 6 * layers * T * query_cols));
  // What is run is more: the diagonal, and the products of the queries with the keys once again in backward.
  CHECK(costs.at("attention_forward").flops + costs.at("attention_backward").flops ==
        tokens * 7 * layers * (T + 1) * query_cols);
}

TEST_CASE("noted calls: a plan of terabytes needs no memory") {
  RunConfig large = config(R"({"model": {"vocab_size": 256000, "hidden_size": 16384, "intermediate_size": 65536,
      "num_hidden_layers": 4, "num_attention_heads": 128, "num_key_value_heads": 8, "max_position_embeddings": 8192},
      "data": {"sequence_length": 8192}, "train": {"micro_batch_sequences": 4}})");
  const auto session = Session::for_training(std::move(large), 0);
  CHECK(session->plan.arena_bytes() > std::int64_t{1} << 39);
  CHECK(session->backend->allocated_bytes() == 0);
  CHECK(step_costs(session->calls).at("linear_forward").flops > 1e15);
}
