// What `bittern plan` says of the bytes of a parameter is what the papers count, what is allocated and what is saved.
#include "train/session/role_memory.h"

#include "catch.h"

using namespace bittern;

namespace {

RunConfig small(const std::vector<std::string>& settings) {
  return parse_config(R"({"model": {"vocab_size": 40, "hidden_size": 24, "num_attention_heads": 2,
      "num_hidden_layers": 1, "intermediate_size": 20}, "data": {"sequence_length": 8},
      "train": {"batch_sequences": 1}, "run": {"threads": 1}, "optimizer": {"states": {"min_elements": 0}}})",
                      "test", settings);
}

/// The MLP's linears of a wide model, planned and not allocated.
RoleMemory linear(std::vector<std::string> settings) {
  settings.insert(settings.end(), {"model.hidden_size=4096", "model.intermediate_size=4096",
                                   "model.num_attention_heads=32", "model.vocab_size=64"});
  for (const RoleMemory& role : role_memory(*Session::for_training(small(settings), 0)))
    if (role.role == Role::mlp_linear) return role;
  throw failure("no mlp_linear");
}

}  // namespace

TEST_CASE("role memory: kept is what a checkpoint holds, and all of the plan's weights, masters and states") {
  const std::vector<std::string> settings =
      GENERATE(std::vector<std::string>{"weights.block_linear.codec=fp8_e4m3", "weights.block_linear.master=bf16"},
               std::vector<std::string>{"weights.embedding.codec=bf16", "optimizer.states.embedding.m=dynamic8",
                                        "optimizer.states.embedding.v=row_mean", "optimizer.states.head.v=row_mean"});
  const auto run = Session::for_training(small(settings), 0);
  run->allocate();
  std::int64_t kept = 0, stored = 0;
  for (const RoleMemory& role : role_memory(*run)) kept += role.kept();
  for (const bool states : {false, true})
    for (const NamedTensor& tensor : run->checkpoint_tensors(states, false))
      stored += static_cast<std::int64_t>(tensor.data.size());
  CHECK(kept == stored);
  CHECK(sum_of_roles(role_memory(*run), false).kept() == kept);
  CHECK(sum_of_roles(role_memory(*run), true).kept() < kept);
  CHECK(kept == run->plan.whole_run_bytes(Category::weights) + run->plan.whole_run_bytes(Category::masters) +
                    run->plan.whole_run_bytes(Category::optimizer_states));
}

TEST_CASE("role memory: bytes a parameter are those of the papers") {
  // ECO (arXiv 2601.22101): 12 with an f32 master in place of weights, 9 without; 13 where the codes are kept beside
  // it.
  const double row_scale = 4.0 / 4096;

  const RoleMemory f32 = linear({});
  CHECK(f32.per_parameter(f32.kept()) == 12.0);
  CHECK(f32.per_parameter(f32.gradient) == 4.0);
  const RoleMemory eco = linear({"weights.block_linear.codec=fp8_e4m3", "weights.block_linear.error_feedback=eco"});
  CHECK(eco.per_parameter(eco.kept()) == Approx(9.0 + row_scale));
  CHECK(eco.per_parameter(eco.scales) == Approx(row_scale));
  const RoleMemory master = linear({"weights.block_linear.codec=fp8_e4m3", "weights.block_linear.master=f32"});
  CHECK(master.per_parameter(master.kept()) == Approx(13.0 + row_scale));
  const auto states = [](const std::string& m, const std::string& v, std::int64_t block) {
    const RoleMemory row = linear(
        {"optimizer.states.m=" + m, "optimizer.states.v=" + v, "optimizer.states.block=" + std::to_string(block)});
    return row.per_parameter(row.states());
  };
  CHECK(states("de4", "log2", 128) == 0.84375);                                   // SOLO 4/2 (arXiv 2505.00347)
  CHECK(states("de2", "log2", 128) == 0.59375);                                   // SOLO 2
  CHECK(states("de4", "linear4", 128) == 1.0625);                                 // 4-bit AdamW, fused
  CHECK(states("de4", "rank1_linear4", 128) == Approx(1.03125 + 2 * row_scale));  // (arXiv 2309.01507)
  CHECK(states("de4", "factored", 128) == Approx(0.53125 + 2 * row_scale));       // 4-bit Factor
  CHECK(states("dynamic8", "dynamic8", 256) == 2.03125);                          // bitsandbytes
  CHECK(states("dynamic8", "dynamic8", 2048) == 2.00390625);

  const RoleMemory int4 = linear({"weights.block_linear.codec=int", "weights.block_linear.bits=4"});
  CHECK(int4.per_parameter(int4.weight) == 0.5);
  CHECK(int4.codec == "int 4");
  const RoleMemory ternary = linear({"weights.block_linear.codec=ternary", "weights.block_linear.master=fp8_e4m3"});
  CHECK(ternary.per_parameter(ternary.weight) == 0.25);
  CHECK(ternary.per_parameter(ternary.master) == Approx(1.0 + row_scale));
}
