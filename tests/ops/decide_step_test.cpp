// The step's record: sums of losses, and the decision whether a step makes its update.
#include <cmath>
#include <limits>
#include <vector>

#include "bittern/step_record_tensors.h"
#include "ops/cases/step.h"
#include "ops/cpu.h"

using namespace bittern;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("add_losses: sums in double over the rows with a target, added to what is there") {
  const TestBackend backend(make_cpu_backend(2));
  const std::int64_t N = 1000;
  Values losses = noise(1, N, 8.0), squares = noise(2, N, 8.0), ids(static_cast<std::size_t>(N), 3.0);
  for (std::size_t i = 0; i < ids.size(); i += 7) losses[i] = squares[i] = 0.0, ids[i] = -1.0;
  const Array loss(*backend, DType::f32, 1, N, losses), squared(*backend, DType::f32, 1, N, squares),
      targets(*backend, DType::i32, 1, N, ids);
  const Record record(*backend, {.sums = {.loss = 5.0, .lse_squared = 7.0, .targets = 2}, .updates = 3});
  backend->add_losses({.sums = sums_of(record.tensor()), .loss = loss, .lse_squared = squared, .targets = targets});
  double sum = 0, square_sum = 0;
  for (const double x : loss.values()) sum += x;
  for (const double x : squared.values()) square_sum += x;
  const StepRecord got = record.read();
  CHECK(got.sums.loss == 5.0 + sum);
  CHECK(got.sums.lse_squared == 7.0 + square_sum);
  CHECK(got.sums.targets == 2 + 1000 - 143);
  CHECK(got.updates == 3);
}

TEST_CASE("begin_step forgets sums and decision, and nothing else") {
  const TestBackend backend(make_cpu_backend(1));
  StepRecord full{.sums = {.loss = 1, .lse_squared = 2, .targets = 3}, .updates = 4, .norm = 5, .clip = 6};
  full.skipped = Skipped::far_from_mean;
  full.fault = 7;
  full.fault_at = 8;
  full.means = {.loss = 9, .loss_square = 10, .norm = 11, .norm_square = 12, .steps = 13};
  const Record record(*backend, full);
  backend->begin_step({.record = record.tensor()});
  const StepRecord got = record.read();
  CHECK((got.sums.loss == 0 && got.sums.lse_squared == 0 && got.sums.targets == 0 && got.skipped == Skipped::no));
  CHECK((got.updates == 4 && got.fault == 7 && got.fault_at == 8 && got.means == full.means));
}

TEST_CASE("decide_step: a loss, a norm or targets that are not there skip the update, and t does not move") {
  const TestBackend backend(make_cpu_backend(1));
  Record record(*backend);
  CHECK(record.step(3.0, 1.0f) == Skipped::no);
  CHECK(record.read().updates == 1);
  CHECK(record.step(not_a_number, 1.0f) == Skipped::not_finite);
  CHECK(record.step(3.0, std::numeric_limits<float>::infinity()) == Skipped::not_finite);
  CHECK(record.read().updates == 1);
  CHECK(record.read().means.steps == 1);
  CHECK(record.step(3.0, 1.0f) == Skipped::no);
  CHECK(record.read().updates == 2);

  // A finite norm whose square is not finite in fp32 would leave an infinite second moment behind for ever.
  CHECK(record.step(3.0, 1.1e19f) == Skipped::not_finite);
  CHECK(record.step(3.0, 1.1e19f, 0.0f, 0.5f) == Skipped::no);  // what the update squares is clipped
  CHECK(record.step(3.0, 0.9e19f) == Skipped::no);

  Record none(*backend, {.norm = 1.0f});
  backend->decide_step({.record = none.tensor()});
  CHECK(none.read().skipped == Skipped::not_finite);
  Record fault(*backend, {.fault = 3});
  CHECK(fault.step(3.0, 1.0f) == Skipped::not_finite);
}

TEST_CASE("decide_step: the means are those of all updates, and from the hundredth on each new one counts 1/100") {
  const TestBackend backend(make_cpu_backend(1));
  Record record(*backend);
  double sum = 0, mean = 0;
  for (int i = 1; i <= 150; ++i) {
    const double loss = 3.0 + 0.01 * i;
    sum += loss;
    CHECK(record.step(loss, 2.0f) == Skipped::no);
    if (i <= 100) mean = sum / i;
    if (i > 100) mean = 0.99 * mean + 0.01 * loss;
    const RunningMeans means = record.read().means;
    CHECK(means.loss == Approx(mean).epsilon(1e-12));
    CHECK(means.norm == Approx(2.0).epsilon(1e-12));
    CHECK(means.norm_square == Approx(4.0).epsilon(1e-12));
  }
}

TEST_CASE("decide_step: with a guard, what lies far above the mean is skipped, once there are a hundred updates") {
  const TestBackend backend(make_cpu_backend(1));
  Record record(*backend);
  // Losses 2 and 4 by turns: mean 3, deviation 1. Norms 1 and 3: mean 2, deviation 1.
  const auto usual = [&](int i) { return record.step(i % 2 == 0 ? 2.0 : 4.0, i % 2 == 0 ? 1.0f : 3.0f, 5.0f); };
  for (int i = 0; i < 99; ++i) REQUIRE(usual(i) == Skipped::no);
  CHECK(record.step(1000.0, 2.0f, 0.0f) == Skipped::no);  // the hundredth: no guard is asked for
  Record fresh(*backend);
  for (int i = 0; i < 99; ++i) fresh.step(i % 2 == 0 ? 2.0 : 4.0, i % 2 == 0 ? 1.0f : 3.0f, 5.0f);
  CHECK(fresh.read().means.steps == 99);
  CHECK(fresh.step(3.0, 2.0f, 5.0f) == Skipped::no);
  const StepRecord before = fresh.read();
  CHECK(fresh.step(7.5, 2.0f, 5.0f) == Skipped::no);  // 4.5 deviations
  Record again(*backend, before);
  CHECK(again.step(8.5, 2.0f, 5.0f) == Skipped::far_from_mean);
  CHECK(again.step(3.0, 7.5f, 5.0f) == Skipped::far_from_mean);
  CHECK(again.step(-50.0, 0.0f, 5.0f) == Skipped::no);  // below it does no harm
  CHECK(again.read().updates == before.updates + 1);
  CHECK(Record(*backend, before).step(1e6, 1e6f, 0.0f) == Skipped::no);  // no guard
}

TEST_CASE("decide_step: the sums of other shares are added in order") {
  const TestBackend backend(make_cpu_backend(1));
  const LossSums others[] = {{.loss = 0.1, .lse_squared = 1, .targets = 1},
                             {.loss = 0.2, .lse_squared = 2, .targets = 2}};
  const DeviceMemory memory(*backend, 48);
  backend->from_host(memory.data(), others, 48);
  Record record(*backend, {.sums = {.loss = 0.7, .lse_squared = 3, .targets = 3}});
  backend->decide_step({.record = record.tensor(), .shares = Tensor(memory.data(), DType::u8, Shape{2, 24})});
  CHECK(record.read().sums.loss == 0.7 + 0.1 + 0.2);
  CHECK(record.read().sums.lse_squared == 6);
  CHECK(record.read().sums.targets == 6);
}
