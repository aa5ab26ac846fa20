// Schedules by worked numbers: the first rate is above zero, the last is exactly final_factor * lr, and pieces are
// monotone.
#include "bittern/schedule.h"

#include "catch.h"

using namespace bittern;

namespace {

ScheduleSection schedule(const std::string& shape, double warmup_fraction = 0.1) {
  ScheduleSection section;
  section.shape = shape;
  section.lr = 2.0;
  section.warmup_fraction = warmup_fraction;
  section.final_factor = 0.1;
  section.decay_fraction = 0.25;
  return section;
}

}  // namespace

TEST_CASE("schedule: worked numbers") {
  const std::int64_t steps = 100;
  CHECK(warmup_steps(schedule("cosine"), steps) == 10);
  for (const char* shape : {"constant", "linear", "cosine", "wsd"}) {
    INFO(shape);
    CHECK(learning_rate(schedule(shape), steps, 1) == Approx(0.2));  // 2 * 1/10
    CHECK(learning_rate(schedule(shape), steps, 5) == Approx(1.0));
    CHECK(learning_rate(schedule(shape), steps, 10) == 2.0);
  }
  CHECK(learning_rate(schedule("constant"), steps, 100) == 2.0);
  CHECK(learning_rate(schedule("linear"), steps, 55) == Approx(2.0 * (1.0 - 0.9 * 0.5)));
  CHECK(learning_rate(schedule("cosine"), steps, 55) == Approx(2.0 * (0.1 + 0.9 * 0.5)));
  CHECK(learning_rate(schedule("cosine"), steps, 40) == Approx(2.0 * (0.1 + 0.9 * 0.75)));  // cos(pi/3) = 1/2
  CHECK(learning_rate(schedule("wsd"), steps, 75) == 2.0);
  CHECK(learning_rate(schedule("wsd"), steps, 80) == Approx(2.0 * (1.0 - 0.9 * 0.2)));
}

TEST_CASE("schedule: ends exactly at the final rate, starts above zero, is monotone in its pieces") {
  for (const char* shape : {"linear", "cosine", "wsd"})
    for (const double warmup : {0.0, 0.1, 0.5})
      for (const std::int64_t steps : {2, 7, 100, 1001}) {
        INFO(shape << " warmup " << warmup << " steps " << steps);
        const ScheduleSection s = schedule(shape, warmup);
        CHECK(learning_rate(s, steps, steps) == Approx(0.2).margin(1e-12));
        CHECK(learning_rate(s, steps, 1) > 0.0);
        const std::int64_t peak = warmup_steps(s, steps);
        for (std::int64_t step = 2; step <= steps; ++step) {
          const double before = learning_rate(s, steps, step - 1), after = learning_rate(s, steps, step);
          if (step <= peak) CHECK(after >= before);
          if (step > peak + 1) CHECK(after <= before);
        }
      }
}

TEST_CASE("schedule: start_factor is where the warm-up begins") {
  ScheduleSection s = schedule("constant");
  s.start_factor = 0.5;
  CHECK(learning_rate(s, 100, 1) == Approx(2.0 * (0.5 + 0.5 * 0.1)));
  s.warmup_fraction = 0;
  s.warmup_steps = 4;
  CHECK(learning_rate(s, 100, 2) == Approx(2.0 * 0.75));
}
