// The recipe of the whole model in few bytes (configs/frontier): what an embedding and a head cost that are bf16, rounded
// stochastically, with an 8-bit first moment and one v for each row, each by itself and both.
#include <string>
#include <vector>

#include "train/trained_model.h"

using namespace bittern;

namespace {

const std::string linears = R"("block_linear": {"codec": "fp8_e4m3", "rounding": "stochastic"})";

std::string small_weights(const std::string& role) {
  return ", \"" + role + R"(": {"codec": "bf16", "rounding": "stochastic"})";
}
std::string small_states(const std::string& role) {
  return "optimizer.states." + role + R"(={"m": "dynamic8", "m_rounding": "stochastic", "v": "row_mean", "block": 16})";
}

/// The mean loss of the last twenty of 150 steps, in which it falls from 3.9 to below 2.
double trained(const std::vector<std::string>& small) {
  std::string weights = linears;
  std::vector<std::string> settings = {"optimizer.rule=muon", "optimizer.others=adamw", "optimizer.states.m=linear8",
                                       "optimizer.states.block=64", "optimizer.states.min_elements=0"};
  for (const std::string& role : small) {
    weights += small_weights(role);
    settings.push_back(small_states(role));
  }
  Trained model(with_weights(weights, settings));
  double sum = 0;
  for (std::uint32_t step = 1; step <= 150; ++step) {
    const double loss = model.compute(step);
    if (step > 130) sum += loss / 20;
    model.update(step);
  }
  return sum;
}

}  // namespace

TEST_CASE("whole model: a small embedding, a small head and both learn as those in f32 with whole moments") {
  const double whole = trained({});
  CHECK(whole < 2.4);
  for (const std::vector<std::string>& small :
       {std::vector<std::string>{"embedding"}, std::vector<std::string>{"head"}, {"embedding", "head"}}) {
    const double loss = trained(small);
    CAPTURE(small, loss, whole);
    CHECK(loss < whole + 0.08);
  }
}

TEST_CASE("whole model: v by row is one number for each token, with the same bits at any number of threads") {
  const auto after_five_steps = [](const char* threads) {
    Trained model(with_weights(linears, {std::string("run.threads=") + threads, small_states("embedding"),
                                         "optimizer.states.min_elements=0"}));
    std::vector<std::vector<float>> values;
    for (std::uint32_t step = 1; step <= 5; ++step) {
      model.compute(step);
      model.update(step);
    }
    for (const Parameter& parameter : model.run->model->parameters()) {
      values.push_back(model.weight(parameter));
      if (parameter.spec.role != Role::embedding) continue;
      CHECK_FALSE(parameter.v.codes);
      values.push_back(model.values(parameter.v.row));
      CHECK(values.back().size() == Trained::vocabulary);
    }
    return values;
  };
  CHECK(after_five_steps("1") == after_five_steps("3"));
}
