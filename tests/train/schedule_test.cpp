// Schedules by worked numbers: the first rate is above zero, the last is exactly the end's, and pieces are monotone.
#include "bittern/schedule.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bittern/trainer.h"
#include "catch.h"
#include "temporary_folder.h"

using namespace bittern;

namespace {

ScheduleSection schedule(const std::string& shape, double warmup_fraction = 0.1) {
  ScheduleSection section;
  section.shape = shape;
  section.lr = 2.0;
  section.warmup_fraction = warmup_fraction;
  section.final_factor = 0.1;
  section.decay_fraction = 0.25;
  section.second_lr = 1.5;
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
  for (const char* shape : {"constant", "linear", "cosine", "wsd", "two_stage"})
    for (const double warmup : {0.0, 0.1, 0.5})
      for (const std::int64_t steps : {2, 7, 100, 1001}) {
        INFO(shape << " warmup " << warmup << " steps " << steps);
        const ScheduleSection s = schedule(shape, warmup);
        CHECK(learning_rate(s, steps, steps) == Approx(s.shape == "constant" ? 2.0 : 0.2).margin(1e-12));
        CHECK(learning_rate(s, steps, 1) > 0.0);
        const std::int64_t peak = warmup_steps(s, steps);
        for (std::int64_t step = 2; step <= steps; ++step) {
          const double before = learning_rate(s, steps, step - 1), after = learning_rate(s, steps, step);
          const bool second_stage_begins = s.shape == "two_stage" && step == (steps + 1) / 2;  // there it may only fall
          if (step <= peak && !second_stage_begins) CHECK(after >= before);
          if (step > peak + 1) CHECK(after <= before);
        }
      }
}

TEST_CASE("schedule: the last rate is exactly `end`, but for the three exceptions, whose last rate is the highest") {
  for (const char* shape : {"constant", "linear", "cosine", "wsd", "two_stage"})
    for (const double warmup : {0.0, 0.1, 0.5, 0.99, 1.0})
      for (const double decay : {0.0, 1e-6, 0.25, 1.0})
        for (const double final_lr : {0.0, 3e-5})
          for (const std::int64_t steps : {1, 2, 3, 7, 100, 1001}) {
            CAPTURE(shape, warmup, decay, final_lr, steps);
            ScheduleSection s = schedule(shape, warmup);
            s.decay_fraction = decay;
            s.final_lr = final_lr;
            const double end = final_lr > 0 ? final_lr : s.lr * s.final_factor;
            const bool all_warmup = warmup_steps(s, steps) == steps;
            const bool never_decays = s.shape == "wsd" && std::llround(decay * static_cast<double>(steps)) == 0;
            const bool exception = s.shape == "constant" || never_decays || all_warmup;
            const double highest = s.shape == "two_stage" ? s.second_lr : s.lr;
            CHECK(learning_rate(s, steps, steps) == (exception ? highest : end));
            CHECK(learning_rate(s, steps, 1) > 0.0);
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

TEST_CASE("schedule: final_lr is the last rate as it is, whatever lr and final_factor are") {
  ScheduleSection s = schedule("cosine");
  s.final_lr = 3e-5;
  CHECK(learning_rate(s, 1000, 1000) == 3e-5);
  CHECK(learning_rate(s, 1000, 550) == Approx(3e-5 + (2.0 - 3e-5) * 0.5));
}

TEST_CASE("schedule: two_stage is BitNet b1.58's of 700M parameters, vertex by vertex") {
  // lr 1.5e-3 -> 1e-3, both lines end at 3e-5; weight decay 0.1 -> 0; 100k steps, 375 of warm-up
  // ("Training Tips, Code and FAQ", figure 1 c and d).
  RunConfig config;
  config.train.steps = 100'000;
  config.schedule.shape = "two_stage";
  config.schedule.lr = 1.5e-3;
  config.schedule.second_lr = 1.0e-3;
  config.schedule.final_lr = 3e-5;
  config.schedule.warmup_steps = 375;
  config.optimizer.weight_decay = 0.1;
  config.schedule.second_weight_decay = 0.0;
  const auto lr = [&](std::int64_t step) { return learning_rate(config.schedule, config.train.steps, step); };
  CHECK(lr(1) == Approx(1.5e-3 / 375));
  CHECK(lr(375) == 1.5e-3);
  CHECK(lr(49'999) == Approx(7.68e-4).epsilon(5e-4));
  CHECK(lr(50'000) == Approx(5.17e-4).epsilon(5e-4));
  CHECK(lr(100'000) == 3e-5);
  CHECK(weight_decay(config, 1) == 0.1);
  CHECK(weight_decay(config, 49'999) == 0.1);
  CHECK(weight_decay(config, 50'000) == 0.0);
  CHECK(weight_decay(config, 100'000) == 0.0);
  config.schedule.shape = "linear";
  CHECK(weight_decay(config, 100'000) == 0.1);
}

TEST_CASE("schedule: second_weight_decay is weight_decay unless it is given") {
  CHECK(parse_config("{}", "test", {{"optimizer.weight_decay=0.3"}}).schedule.second_weight_decay == 0.3);
  CHECK(parse_config("{}", "test", {{"optimizer.weight_decay=0.3", "schedule.second_weight_decay=0"}})
            .schedule.second_weight_decay == 0.0);
}

TEST_CASE("schedule: a run's logged rate is learning_rate() of its step, the first of them 1") {
  const TemporaryFolder folder("schedule");
  {
    std::vector<std::int32_t> header(256);
    header[0] = 20240520;
    header[1] = 1;
    header[2] = 2000;
    std::ofstream file(folder / "tokens.bin", std::ios::binary);
    file.write(reinterpret_cast<const char*>(header.data()), 1024);
    file << std::string(4000, '\0');
  }
  for (const char* shape : {"constant", "linear", "cosine", "wsd", "two_stage"}) {
    INFO(shape);
    RunConfig config = parse_config(
        R"({"model": {"vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
                      "intermediate_size": 8},
            "data": {"sequence_length": 4},
            "train": {"steps": 12, "batch_sequences": 1, "evaluate_every": 0, "checkpoint_every": 0}})",
        "test");
    config.data.path = folder / "tokens.bin";
    config.schedule = schedule(shape, 0.25);
    const std::string run = folder / shape;
    REQUIRE(train(config, {.out = run}) == ExitCode::ok);
    std::ifstream file(run + "/metrics.jsonl");
    std::int64_t step = 0;
    for (std::string line; std::getline(file, line);) {
      const auto metrics = nlohmann::json::parse(line);
      if (!metrics.contains("lr")) continue;
      CHECK(metrics.at("step") == ++step);
      CHECK(metrics.at("lr").get<double>() == learning_rate(config.schedule, 12, step));
    }
    CHECK(step == 12);
  }
}

TEST_CASE("schedule: rates of the first steps are the same, or not, to the step") {
  const auto config = [](const std::string& shape, std::int64_t steps, double warmup_fraction = 0) {
    RunConfig made;
    made.train.steps = steps;
    made.schedule = schedule(shape, warmup_fraction);
    return made;
  };
  const auto first_that_differs = [](const RunConfig& a, const RunConfig& b) {
    std::int64_t step = 1;
    while (step <= 100 && same_rates(a, b, step)) ++step;
    return step;
  };
  RunConfig wsd = config("wsd", 100), longer = config("wsd", 200);
  wsd.schedule.decay_fraction = longer.schedule.decay_fraction = 0.2;
  CHECK(first_that_differs(wsd, longer) == 81);
  CHECK(first_that_differs(longer, wsd) == 81);
  CHECK(first_that_differs(config("constant", 100), config("constant", 200)) == 101);
  CHECK(first_that_differs(config("constant", 100), wsd) == 81);
  CHECK(first_that_differs(config("cosine", 100), config("cosine", 200)) == 1);
  CHECK(first_that_differs(config("constant", 100, 0.1), config("constant", 200, 0.1)) == 1);
  CHECK(same_rates(config("cosine", 100), config("cosine", 200), 0));
  // More steps than any run makes: no time is spent on them.
  CHECK_FALSE(same_rates(config("constant", 100), config("constant", 100), std::int64_t{1} << 62));
  RunConfig decay = config("two_stage", 100), other_decay = decay;
  other_decay.schedule.second_weight_decay = 7;
  CHECK(first_that_differs(decay, other_decay) == 50);
}
