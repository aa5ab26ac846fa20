// Twenty steps of AdamW against PyTorch in double precision (tests/golden/make_trajectory.py): loss and gradient norm
// of every step, and the final weights; as one batch a step and as two micro-batches of very unequal numbers of
// targets.
//
// Adam divides by the root of the second moment, so where a gradient is almost nothing, rounding decides the sign of a
// whole step. PyTorch's own float32 run ends 1.6e-3 from the golden weights at worst and 1.0e-5 in the root mean
// square; hence the tolerances. A mean of the micro-batches' means would end 1.1e-1 away.
#include <string>
#include <vector>

#include "catch.h"
#include "model/golden.h"
#include "train/one_step.h"

using namespace bittern;
using namespace bittern::golden;

namespace {

void follow(std::int64_t micro_batch, const std::string& recompute) {
  const Golden golden("trajectory");
  const std::vector<std::int32_t> tokens = golden.ints("tokens"), targets = golden.ints("targets");
  const std::vector<float> rates = golden.floats("learning_rates"), losses = golden.floats("losses");
  const std::vector<float> norms = golden.floats("grad_norms");
  const std::int64_t B = golden.shape("tokens").at(1), T = golden.shape("tokens").at(2);

  RunConfig config = config_of("llama_gqa", B, T);
  config.train.micro_batch_sequences = micro_batch;
  config.train.recompute = recompute;
  config.optimizer.beta1 = 0.9;
  config.optimizer.beta2 = 0.95;
  config.optimizer.eps = 1e-8;
  config.optimizer.weight_decay = 0.1;
  config.optimizer.clip_grad_norm = 4.0;
  const std::unique_ptr<Session> run = start(config, "llama_gqa");

  for (std::size_t step = 0; step < rates.size(); ++step) {
    INFO("step " << step + 1);
    const auto rows = static_cast<std::size_t>(B * T), part = static_cast<std::size_t>(micro_batch * T);
    const auto x = std::span(tokens).subspan(step * rows, rows), y = std::span(targets).subspan(step * rows, rows);
    const std::int64_t valid = std::count_if(y.begin(), y.end(), [](std::int32_t target) { return target >= 0; });
    double loss = 0;
    for (std::size_t at = 0; at < rows; at += part)
      loss += forward_backward(*run, x.subspan(at, part), y.subspan(at, part), valid, at == 0).loss;
    CHECK(loss / static_cast<double>(valid) == Approx(losses[step]).epsilon(5e-5));
    const float norm = update_weights(*run, static_cast<double>(rates[step]), config.optimizer.weight_decay,
                                      static_cast<std::int64_t>(step) + 1, static_cast<std::int64_t>(step));
    CHECK(norm == Approx(norms[step]).epsilon(1e-4));
  }

  double worst = 0, squares = 0, elements = 0;
  for (const Parameter& parameter : run->model->parameters()) {
    const std::vector<float> expected = golden.floats("final." + parameter.spec.name);
    const std::vector<float> got = to_host(*run, parameter.weight);
    REQUIRE(expected.size() == got.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double difference = std::abs(static_cast<double>(expected[i]) - static_cast<double>(got[i]));
      REQUIRE(difference < 1.0);  // and not NaN
      worst = std::max(worst, difference);
      squares += difference * difference;
      elements += 1;
    }
  }
  CHECK(worst < 5e-3);
  CHECK(std::sqrt(squares / elements) < 4e-5);
}

}  // namespace

TEST_CASE("trajectory: twenty AdamW steps are PyTorch's, clip and decay included") {
  follow(4, "none");
}

TEST_CASE("trajectory: two micro-batches with unequal numbers of targets are the same twenty steps") {
  follow(2, "none");
}

TEST_CASE("trajectory: one sequence at a time, blocks recomputed") {
  follow(1, "block");
}
