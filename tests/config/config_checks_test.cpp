// Keys against each other.
#include "config/config_support.h"

using namespace bittern;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

TEST_CASE("config: a combination that cannot be is refused with both keys, both values and what to change") {
  const auto [settings, message] = GENERATE(table<std::vector<std::string>, std::string>({
      {{"model.hidden_size=250"},
       "model.hidden_size is 250 and model.num_attention_heads is 4; expected a multiple of it where model.head_dim is "
       "not given; change one of them, or give head_dim"},
      {{"model.num_key_value_heads=3"},
       "model.num_attention_heads is 4 and model.num_key_value_heads is 3; expected a multiple of it"},
      {{"model.num_key_value_heads=8"}, "expected a multiple of it"},
      {{"model.hidden_size=12"},
       "model.head_dim is 3 (hidden_size 12 / 4 heads); expected an even number of at most 256"},
      {{"model.hidden_size=2048"}, "model.head_dim is 512 (hidden_size 2048 / 4 heads)"},
      {{"model.head_dim=7"},
       "model.head_dim is 7; expected an even number of at most 256, as rotary embedding turns "
       "pairs; change it"},
      {{"model.architecture=qwen3"},
       "model.head_dim is not given; architecture qwen3 needs it; set it (hidden_size / "
       "heads is 64)"},
      {{"model.architecture=qwen2", "model.attention_bias=false"},
       "model.attention_bias is false, but architecture qwen2 has biases on q, k, v (alone); remove the key, or set "
       "model.architecture to llama"},
      {{"train.batch_sequences=8", "train.micro_batch_sequences=3"},
       "train.micro_batch_sequences is 3; expected a divisor of train.batch_sequences, which is 8"},
      {{"train.fused_backward=true", "train.batch_sequences=8", "train.micro_batch_sequences=2"},
       "train.fused_backward is true with train.micro_batch_sequences 2 of train.batch_sequences 8; expected the whole "
       "batch in one micro-batch"},
      {{"train.fused_clip=exact"},
       "train.fused_clip is exact with train.fused_backward false, which does not use it; set it to last_norm, or "
       "fused_backward to true"},
      {{"train.batch_sequences=8", "train.micro_batch_sequences=16"}, "expected a divisor of train.batch_sequences"},
      {{"data.sequence_length=4096"},
       "data.sequence_length is 4096; expected at most model.max_position_embeddings, which is 2048"},
      {{"train.steps=10", "schedule.warmup_steps=11"},
       "schedule.warmup_steps is 11; expected at most train.steps, which is 10"},
      {{"schedule.warmup_steps=5", "schedule.warmup_fraction=0.1"},
       "schedule.warmup_steps is 5 and schedule.warmup_fraction is 0.1; expected one of them; set the other to 0"},
      {{"schedule.shape=wsd", "schedule.warmup_fraction=0.6", "schedule.decay_fraction=0.5"},
       "schedule.decay_fraction is 0.5 and the warm-up takes 0.6 of the steps; expected a sum of at most 1"},
      {{"schedule.shape=wsd", "train.steps=10", "schedule.warmup_steps=9"}, "the warm-up takes 0.9 of the steps"},
      {{"schedule.shape=two_stage"}, "schedule.second_lr is not given; schedule.shape two_stage needs it"},
      {{"schedule.second_lr=0.1"}, "schedule.second_lr is 0.1 with schedule.shape cosine, which has one stage"},
      {{"schedule.lr=0.1", "schedule.final_lr=0.2"},
       "schedule.final_lr is 0.2; expected at most schedule.lr, which is 0.1: the rate falls"},
      {{"schedule.shape=two_stage", "schedule.lr=0.1", "schedule.second_lr=0.11"},
       "schedule.second_lr is 0.11; expected at most schedule.lr, which is 0.1: the second stage is the lower one"},
      {{"schedule.shape=two_stage", "schedule.lr=0.1", "schedule.second_lr=0.05", "schedule.final_lr=0.06"},
       "expected at most schedule.second_lr, which is 0.05"},
      {{"schedule.shape=two_stage", "schedule.lr=0.1", "schedule.second_lr=0.05", "schedule.final_factor=0.6"},
       "schedule.final_factor is 0.6, which ends at 0.06; expected at most schedule.second_lr, which is 0.05: the rate "
       "falls; lower it, or give schedule.final_lr"},
      {{"optimizer.rule=sgdm", "optimizer.betas=[0.9,0.99]"},
       "optimizer.betas[1] is 0.99 with rule sgdm, which does not use it; set it to 0.95, or rule to adamw"},
      {{"optimizer.rule=adafactor", "optimizer.eps=1e-9"},
       "optimizer.eps is 1e-09 with rule adafactor, which does not use it; set it to 1e-08, or rule to adamw"},
      {{"optimizer.others=sgdm"},
       "optimizer.others is given with rule adamw, which has one rule for all parameters; remove it, or set rule to "
       "muon"},
      {{"optimizer.muon.steps=6"}, "optimizer.muon is given with rule adamw"},
      {{"optimizer.rule=muon", "optimizer.others=sgdm", "optimizer.eps=1e-9"},
       "optimizer.eps is 1e-09 with rule muon, which does not use it"},
      {{"run.name=a/b"}, "run.name is \"a/b\"; expected letters, digits"},
      {{"run.name=.."}, "run.name is \"..\"; expected letters, digits"},
      {{"run.name=-x"}, "expected letters, digits"},
  }));
  const std::string said = refusal("{}", settings);
  CAPTURE(said);
  CHECK_THAT(said, StartsWith("a.json with --set: ") && Contains(message));
}

TEST_CASE("config: edges of combinations are accepted") {
  const auto settings = GENERATE(values<std::vector<std::string>>({
      {"model.hidden_size=250", "model.head_dim=64"},
      {"model.num_key_value_heads=1"},
      {"model.hidden_size=1024", "model.head_dim=256"},
      {"data.sequence_length=2048"},
      {"train.batch_sequences=8", "train.micro_batch_sequences=8"},
      {"train.steps=10", "schedule.warmup_steps=10"},
      {"schedule.shape=wsd", "schedule.warmup_fraction=0.5", "schedule.decay_fraction=0.5"},
      {"schedule.shape=two_stage", "schedule.second_lr=1e-4", "schedule.final_lr=1e-4"},
      {"schedule.shape=two_stage", "schedule.lr=0.1", "schedule.second_lr=0.05", "schedule.final_factor=0.5"},
      {"schedule.shape=constant", "schedule.final_lr=1e-3"},
      {"optimizer.rule=sgdm", "optimizer.betas=[0.5,0.95]", "optimizer.eps=1e-8"},
      {"optimizer.rule=muon", "optimizer.betas=[0.9,0.99]", "optimizer.eps=1e-9", "optimizer.muon.per_head=true"},
      {"optimizer.rule=muon", "optimizer.states.v=log2", "optimizer.states.m=de4"},
      {"model.architecture=qwen3", "model.head_dim=64"},
      {"weights.block_linear.codec=bf16", "weights.block_linear.master=f32"},
      {"weights.head.codec=bf16", "weights.head.rounding=stochastic"},
      {"precision.compute=bf16", "precision.residual=f32"},
  }));
  CHECK(refusal("{}", settings) == "accepted");
}

TEST_CASE("config: sizes whose product leaves 64 bits are refused") {
  CHECK_THAT(
      refusal("{}", {"model.hidden_size=262144", "model.head_dim=256", "model.num_attention_heads=4096",
                     "model.num_hidden_layers=4096", "model.intermediate_size=1048576"}),
      Contains("parameters; expected at most 2.81e+14, so that sizes fit into 64 bits; lower model.hidden_size"));
  CHECK_THAT(refusal("{}", {"train.batch_sequences=1048576", "data.sequence_length=4194304",
                            "model.max_position_embeddings=4194304"}),
             Contains("tokens in a micro-batch; expected at most 2.15e+09"));
  CHECK_THAT(refusal("{}", {"train.batch_sequences=1048576", "data.sequence_length=4194304", "train.steps=4294967295",
                            "train.micro_batch_sequences=1", "model.max_position_embeddings=4194304"}),
             Contains("tokens in the run; expected at most"));
}
