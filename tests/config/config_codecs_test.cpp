// weights.* and optimizer.states.* against each other: what a codec implies, and what is refused and why.
#include "bittern/moment_choice.h"
#include "bittern/quant/state_codec.h"
#include "config/config_support.h"
#include "config/weight_codecs.h"

using namespace bittern;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

WeightCodec linear(const std::vector<std::string>& settings) {
  return parse_config("{}", "a.json", settings).weights[Role::mlp_linear];
}

}  // namespace

TEST_CASE("config: a method's codec needs only the keys in which it differs from what its codec implies") {
  // ECO (arXiv 2601.22101, section 4): E4M3, a scale per row from absmax, every step, no master.
  const WeightCodec eco = linear({"weights.block_linear.codec=fp8_e4m3", "weights.block_linear.rounding=stochastic",
                                  "weights.block_linear.error_feedback=eco"});
  CHECK(eco == WeightCodec{.storage = WeightStorage::fp8_e4m3,
                           .rounding = Rounding::stochastic,
                           .error_feedback = ErrorFeedback::eco});

  // BitNet b1.58: ternary of an f32 master, absmean of the tensor, every step.
  const WeightCodec bitnet = linear({"weights.block_linear.codec=ternary", "weights.block_linear.master=f32"});
  CHECK(bitnet.scale_per == ScalePer::tensor);
  CHECK(bitnet.scale_from == ScaleFrom::absmean);
  CHECK(bitnet.scale_update == ScaleUpdate::every_step);

  // DQT: the same grid without a master, its scale never made again.
  const WeightCodec dqt = linear({"weights.block_linear.codec=ternary", "weights.block_linear.rounding=stochastic"});
  CHECK(dqt.scale_per == ScalePer::tensor);
  CHECK(dqt.scale_from == ScaleFrom::absmean);
  CHECK(dqt.scale_update == ScaleUpdate::fixed);
  const WeightCodec dqt8 =
      linear({"weights.block_linear={\"codec\":\"int\",\"range\":\"full\",\"scale_per\":\"tensor\",\"scale_from\":"
              "\"absmean\"}"});
  CHECK(dqt8.scale_update == ScaleUpdate::fixed);
  CHECK(dqt8.lowest() == -128);

  // What is given stays.
  const WeightCodec absmax = linear({"weights.block_linear.codec=ternary", "weights.block_linear.scale_from=absmax",
                                     "weights.mlp_linear.scale_per=row"});
  CHECK(absmax.scale_from == ScaleFrom::absmax);
  CHECK(absmax.scale_per == ScalePer::row);
  CHECK(absmax.scale_update == ScaleUpdate::every_step);
}

TEST_CASE("config: SOLO's levels and zip_de4 are rounded stochastically unless it is said otherwise") {
  const auto rounding = [](const std::vector<std::string>& settings) {
    return parse_config("{}", "a.json", settings).optimizer.states.v_rounding;
  };
  CHECK(rounding({"optimizer.states.v=log2"}) == Rounding::stochastic);
  CHECK(rounding({"optimizer.states.v=log4", "optimizer.states.v_rounding=nearest"}) == Rounding::nearest);
  CHECK(rounding({"optimizer.states.v=linear4"}) == Rounding::nearest);
  CHECK(rounding({"optimizer.states.v=zip_de4"}) == Rounding::stochastic);
}

TEST_CASE("config: optimizer.states by role: a role over its group over all, later files over earlier ones") {
  const StatesSection states =
      parse_config(R"({"optimizer": {"states": {"m": "de4", "v": "log2", "block": 64, "head_m": "bf16",
        "block_linear": {"m": "linear8", "block": 2048, "m_rounding": "stochastic"}, "mlp_linear": {"m": "fp8"},
        "embedding": {"m": "dynamic8", "v": "zip_de4"}, "norm": {"v": "f32"}}}})",
                   "a.json", std::vector<std::string>{"optimizer.states.embedding.block=8"})
          .optimizer.states;
  const auto says = [](const MomentChoice& choice, const char* codec, Rounding rounding, std::int64_t block, bool own) {
    return choice.codec == codec && choice.rounding == rounding && choice.block == block && choice.own == own;
  };
  const auto nearest = Rounding::nearest, stochastic = Rounding::stochastic;
  CHECK(says(first_moment_of(states, Role::attention_linear), "linear8", stochastic, 2048, true));
  CHECK(says(first_moment_of(states, Role::mlp_linear), "fp8", stochastic, 2048, true));
  CHECK(says(second_moment_of(states, Role::mlp_linear), "log2", stochastic, 2048, false));
  CHECK(says(first_moment_of(states, Role::embedding), "dynamic8", nearest, 8, true));
  CHECK(says(second_moment_of(states, Role::embedding), "zip_de4", stochastic, 8, true));
  CHECK(says(first_moment_of(states, Role::head), "bf16", nearest, 64, false));
  CHECK(says(first_moment_of(states, Role::norm), "f32", nearest, 64, false));
  CHECK(says(second_moment_of(states, Role::norm), "f32", nearest, 64, true));
}

TEST_CASE("config: a role's own codec is rounded as that codec implies, whatever is said of all roles") {
  const auto rounding = [](const std::vector<std::string>& settings) {
    return second_moment_of(parse_config("{}", "a.json", settings).optimizer.states, Role::embedding).rounding;
  };
  CHECK(rounding({"optimizer.states.v=log2", "optimizer.states.embedding.v=linear4"}) == Rounding::nearest);
  CHECK(rounding({"optimizer.states.embedding.v=log2"}) == Rounding::stochastic);
  CHECK(rounding({"optimizer.states.embedding.v=log2", "optimizer.states.embedding.v_rounding=nearest"}) ==
        Rounding::nearest);
  CHECK(rounding({"optimizer.states.v=linear4", "optimizer.states.embedding.v_rounding=stochastic"}) ==
        Rounding::stochastic);
}

TEST_CASE("config: codecs that cannot go together are refused with the keys, the reason and the remedy") {
  const auto [settings, message] = GENERATE(table<std::vector<std::string>, std::string>({
      {{"weights.norm.codec=fp8_e4m3"}, "weights.norm.codec is fp8_e4m3; expected f32: norms are few"},
      {{"weights.head.codec=fp8_e4m3", "weights.head.bits=4"},
       "weights.head.bits is 4 with codec fp8_e4m3, whose number of bits is its own; set bits to 8, or codec to int"},
      {{"weights.head.codec=ternary", "weights.head.range=full"},
       "weights.head.range is full with codec ternary; only int has one code more below zero than above"},
      {{"weights.mlp_linear.scale_per=tensor"},
       "weights.mlp_linear.scale_per is tensor with codec f32, which has no scales; set scale_per to row, or codec to"},
      {{"weights.head.codec=bf16", "weights.head.scale_from=absmean"},
       "weights.head.scale_from is absmean with codec bf16, which has no scales"},
      {{"weights.head.codec=bf16", "weights.head.scale_update=fixed"},
       "weights.head.scale_update is fixed with codec bf16, which has no scales"},
      {{"weights.head.master=f32"}, "weights.head.master is f32 with codec f32; a master is a copy of more bits"},
      {{"weights.head.codec=bf16", "weights.head.master=bf16"}, "weights.head.master is bf16 with codec bf16"},
      {{"weights.head.codec=fp8_e4m3", "weights.head.master=fp8_e4m3"}, "a master is a copy of more bits"},
      {{"weights.head.codec=int", "weights.head.master=fp8_e4m3"}, "a master is a copy of more bits"},
      {{"weights.head.codec=int", "weights.head.bits=4", "weights.head.master=f32", "weights.head.scale_update=fixed"},
       "weights.head.scale_update is fixed with master f32; a master is free to leave the range of its first values"},
      {{"weights.head.codec=ternary", "weights.head.scale_update=every_step"},
       "weights.head.scale_from is absmean with scale_update every_step and no master; each step would clip"},
      {{"weights.head.codec=fp8_e4m3", "weights.head.master_rounding=stochastic"},
       "weights.head.master_rounding is stochastic with master none, which is not rounded"},
      {{"weights.head.codec=ternary", "weights.head.master=f32", "weights.head.master_rounding=stochastic"},
       "weights.head.master_rounding is stochastic with master f32, which is not rounded"},
      {{"weights.embedding.rounding=stochastic"}, "weights.embedding.rounding is stochastic with codec f32"},
      {{"weights.block_linear.codec=bf16", "weights.block_linear.master=f32", "weights.mlp_linear.rounding=stochastic"},
       "weights.mlp_linear.rounding is stochastic with master f32; the master keeps what rounding would lose"},
      {{"weights.head.error_feedback=eco"}, "weights.head.error_feedback is eco with codec f32, which loses nothing"},
      {{"weights.head.codec=fp8_e4m3", "weights.head.master=bf16", "weights.head.error_feedback=eco"},
       "weights.head.error_feedback is eco with master bf16, which keeps what rounding loses; set one of them to none"},
      {{"weights.head.codec=fp8_e4m3", "weights.head.error_feedback=eco", "optimizer.betas=[0,0.95]"},
       "weights.head.error_feedback is eco and optimizer.betas[0] is 0; the error is kept in the first moment"},
      {{"model.tie_word_embeddings=true", "weights.head.codec=bf16"},
       "weights.head is not weights.embedding, but model.tie_word_embeddings is true: the head is the embedding"},
      {{"optimizer.states.block=100"},
       "optimizer.states.block is 100; expected a multiple of 8: packed codes of a block start at a byte; set it to "
       "96"},
      {{"optimizer.states.m=log2"},
       "optimizer.states.m is \"log2\"; expected one of f32, bf16, fp8, dynamic8, de4, de3, de2, linear8, linear4, "
       "linear3, linear2, softsign8, nf4; it has no codes for negative numbers, which a first moment needs; for v it will do"},
      {{"optimizer.states.head_m=factored"}, "it has no codes for negative numbers"},
      {{"optimizer.states.m=e4m3"}, "optimizer.states.m is \"e4m3\"; expected one of f32"},
      {{"optimizer.states.m_rounding=stochastic"}, "optimizer.states.m_rounding is stochastic with m f32"},
      {{"optimizer.states.v_rounding=stochastic"}, "optimizer.states.v_rounding is stochastic with v f32"},
      {{"optimizer.states.v=factored", "optimizer.states.v_rounding=stochastic"},
       "optimizer.states.v_rounding is stochastic with v factored"},
      {{"optimizer.states.v=de4", "optimizer.states.quantile=0.2"},
       "optimizer.states.quantile is 0.2 with v de4; only log2, log3 and log4 have a level at a quantile"},
      {{"model.tie_word_embeddings=true", "optimizer.states.head_m=bf16"},
       "optimizer.states.head_m is bf16, but model.tie_word_embeddings is true"},
      {{"optimizer.states.on=linears", "optimizer.states.head_m=bf16"},
       "optimizer.states.head_m is bf16 with on linears, which leaves the head out"},
      {{"optimizer.rule=sgdm", "optimizer.states.v=log2"},
       "optimizer.states.v is log2 with rule sgdm, which has no second moment; set v to f32"},
      {{"optimizer.rule=muon", "weights.block_linear.codec=fp8_e4m3", "weights.block_linear.error_feedback=eco"},
       "weights.attention_linear.error_feedback is eco with optimizer.rule muon"},
      {{"optimizer.rule=muon", "optimizer.others=sgdm", "optimizer.states.v=log2"},
       "optimizer.states.v is log2 with rule muon, which has no second moment; set v to f32"},
      {{"optimizer.states.embedding.m=log2"}, "optimizer.states.embedding.m is \"log2\"; expected one of auto, f32,"},
      {{"optimizer.states.head={\"block\":100}"},
       "optimizer.states.head.block is 100; expected a multiple of 8: packed codes of a block start at a byte; set it "
       "to 96"},
      {{"optimizer.states.embedding.m_rounding=stochastic"},
       "optimizer.states.embedding.m_rounding is stochastic with m f32, which is not rounded; set it to auto, or "
       "optimizer.states.embedding.m to a codec of fewer bits"},
      {{"optimizer.states.v=de4", "optimizer.states.norm.v_rounding=stochastic"},
       "optimizer.states.norm.v_rounding is stochastic with v f32"},
      {{"optimizer.states.head.v=factored", "optimizer.states.head.v_rounding=stochastic"},
       "optimizer.states.head.v_rounding is stochastic with v factored; a matrix then has f32 means"},
      {{"optimizer.rule=muon", "optimizer.states.block_linear.v=bf16"},
       "optimizer.states.attention_linear.v is bf16 with rule muon, which has no second moment; remove it"},
      {{"model.tie_word_embeddings=true", "optimizer.states.head.m=bf16"},
       "optimizer.states.head says how the head's moments are stored, but model.tie_word_embeddings is true"},
      {{"optimizer.states.mlp=3"}, "optimizer.states.mlp is not a known key"},
      {{"optimizer.eco.cap=3"}, "optimizer.eco.cap is 3, but no weights.*.error_feedback is eco"},
      {{"weights.head.codec=bf16", "weights.head.error_feedback=eco", "optimizer.rule=sgdm", "optimizer.eco.cap=3"},
       "optimizer.eco.cap is 3 with rule sgdm; a cap is told in roots of adamw's second moment; set cap to 0"},
      {{"optimizer.eco.decay_factor=true"},
       "optimizer.eco.decay_factor is true, but no weights.*.error_feedback is eco"},
  }));
  const std::string said = refusal("{}", settings);
  CAPTURE(said);
  CHECK_THAT(said, StartsWith("a.json with --set: ") || StartsWith("--set: "));
  CHECK_THAT(said, Contains(message));
}

TEST_CASE("config: the papers' combinations, and some that no paper tried, are accepted") {
  const std::string linears = "weights.block_linear=", states = "optimizer.states=";
  const auto settings = GENERATE_COPY(values<std::vector<std::string>>({
      // ECO's baselines: naive, and masters with either rounding
      {linears + R"({"codec":"fp8_e4m3"})"},
      {linears + R"({"codec":"fp8_e4m3","rounding":"stochastic"})"},
      {linears + R"({"codec":"fp8_e4m3","master":"f32","rounding":"stochastic"})"},
      {linears + R"({"codec":"int","bits":4,"scale_per":"tensor","error_feedback":"eco"})"},
      {linears + R"({"codec":"bf16","error_feedback":"eco"})", "optimizer.eco.cap=0.25"},
      // DQT's: nearest rounding, low-precision masters of its BitNet
      {linears + R"({"codec":"ternary"})", "precision.activations=int8_token"},
      {linears + R"({"codec":"ternary","master":"bf16"})"},
      {linears + R"({"codec":"ternary","master":"fp8_e4m3","master_rounding":"stochastic"})"},
      // 4-bit AdamW, Factor, SOLO, 8-bit
      {states + R"({"m":"de4","v":"rank1_linear4"})"},
      {states + R"({"m":"de4","v":"factored","on":"all","min_elements":0,"v_rounding":"stochastic"})"},
      {states + R"({"m":"de2","v":"log2","head_m":"de2","quantile":0.05})", "optimizer.betas=[0.1,0.999]"},
      {states + R"({"m":"dynamic8","v":"dynamic8","block":256,"on":"linears"})"},
      {states + R"({"m":"bf16","v":"bf16","m_rounding":"stochastic"})"},
      {states + R"({"v":"f32","quantile":0.05,"mlp_linear":{"v":"log3"},"norm":{"m":"de4","v":"factored"}})"},
      // nobody's
      {linears + R"({"codec":"fp8_e4m3","error_feedback":"eco","rounding":"stochastic"})",
       states + R"({"m":"de4","v":"log2"})"},
      {linears + R"({"codec":"int","bits":3,"range":"full","error_feedback":"eco"})", "weights.embedding.codec=int",
       "weights.embedding.bits=4", "model.tie_word_embeddings=true"},
      {"model.tie_word_embeddings=true", "weights.embedding.codec=fp8_e4m3", "weights.head.codec=fp8_e4m3"},
  }));
  CHECK(refusal("{}", settings) == "accepted");
}

TEST_CASE("config: every combination of a codec's keys is accepted, and then reads back, or is refused by its keys") {
  int accepted = 0, refused = 0;
  for_every_weight_codec([&](const std::string& members) {
    const std::string group = R"({"weights":{"mlp_linear":{)" + members + "}}}";
    const std::string said = refusal(group);
    if (said == "accepted") {
      const std::string once = config_json(parse_config(group, "a.json"));
      if (config_json(parse_config(once, "b.json")) != once) FAIL_CHECK(group);
      ++accepted;
    } else {
      const bool names_key = said.starts_with("a.json: weights.mlp_linear.");
      if (!names_key || said.find("; set ") == std::string::npos) FAIL_CHECK(said);
      ++refused;
    }
  });
  // f32 1; bf16 4 without master, 1 with; E4M3 24 without, 2 * 8 with; int the same for each range; ternary 24, 3 * 8.
  const int good = 1 + (4 + 1) + (24 + 2 * 8) + 2 * (24 + 2 * 8) + (24 + 3 * 8);
  CHECK(accepted == good);
  CHECK(refused == 5 * 2 * 2 * 2 * 2 * 4 * 2 * 2 - good);
}
