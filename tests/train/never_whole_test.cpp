// What a plan never holds whole: the scores of attention (T x T of every head) and the logits of a batch.
#include "catch.h"
#include "train/session/session.h"

using namespace bittern;

namespace {

std::unique_ptr<Session> planned(const std::vector<std::string>& settings) {
  return Session::for_training(
      parse_config(R"({"model": {"vocab_size": 512, "hidden_size": 128, "num_attention_heads": 2,
      "num_hidden_layers": 2, "intermediate_size": 256, "max_position_embeddings": 8192},
      "data": {"sequence_length": 4096}, "train": {"batch_sequences": 1}, "run": {"threads": 2}})",
                   "test", settings),
      0);
}

std::int64_t bytes_of(const Plan& plan, const std::string& name) {
  for (const PlannedTensor& tensor : plan.tensors())
    if (tensor.name == name) return tensor.bytes();
  throw failure("no tensor {}", name);
}

}  // namespace

TEST_CASE("plan: as many tokens in sequences twice as long take no more memory: T x T never exists") {
  for (const std::string recompute : {"none", "block"}) {
    const auto bytes = [&](std::int64_t length) {
      const std::string sequences = std::to_string(65536 / length);
      return static_cast<double>(
          planned({"data.sequence_length=" + std::to_string(length), "train.batch_sequences=" + sequences,
                   "train.micro_batch_sequences=" + sequences, "train.recompute=" + recompute})
              ->plan.arena_bytes());
    };
    const double shorter = bytes(4096), longer = bytes(8192);
    INFO("recompute " << recompute << ": " << shorter << " and " << longer << " bytes");
    CHECK(longer < 1.2 * shorter);
    // The scores of one head alone would be more.
    CHECK(longer < 65536.0 * 8192.0 * 4.0);
  }
}

TEST_CASE("plan: logits exist at most 64 MiB at a time, whatever the vocabulary") {
  for (const std::string compute : {"f32", "bf16"})
    for (const std::int64_t vocabulary : {512, 32000, 262144}) {
      const auto run = planned({"model.vocab_size=" + std::to_string(vocabulary), "precision.compute=" + compute});
      const std::int64_t logits = bytes_of(run->plan, "final.logits");
      const std::int64_t all = 4096 * vocabulary * (compute == "f32" ? 4 : 2);
      INFO(compute << ", vocabulary " << vocabulary << ": " << logits << " bytes of logits");
      CHECK(logits <= 64 << 20);
      CHECK(logits > std::min<std::int64_t>(all - 1, 63 << 20));  // and they fill it
    }
}
