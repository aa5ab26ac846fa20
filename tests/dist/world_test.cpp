// What ranks tell each other, and how they stay together when one of them fails.
#include "bittern/world.h"

#include <atomic>
#include <cstdlib>
#include <numeric>

#include "bittern/failure.h"
#include "catch.h"
#include "dist/thread_world.h"
#include "temporary_folder.h"

using namespace bittern;

namespace {

/// Catch's assertions are for one thread: the ranks use this one, whose message the test then sees.
void expect(bool condition, const char* what) {
  check(condition, "{}", what);
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("world: one process is a world of one, and needs no network") {
  World world;
  CHECK(world.info().alone());
  CHECK(world.info().speaks());
  CHECK(world.all_gather(7) == std::vector{7});
  CHECK(world.any_before(true));
  CHECK_FALSE(world.any_before(false));
  std::string text = "stays";
  world.broadcast(text, 0);
  world.barrier();
  CHECK(text == "stays");
  CHECK_THROWS_AS(world.submit("anything", [](Link&) {}), Error);
  CHECK_THROWS_WITH(world.together("the config", [] { throw input_error("wrong"); }), "wrong");
}

TEST_CASE("world: all-gather and broadcast, of any number of ranks and from any of them") {
  for (int ranks = 1; ranks <= 9; ++ranks) {
    CAPTURE(ranks);
    run_ranks(ranks, [&](World& world) {
      std::vector<int> expected(static_cast<std::size_t>(ranks));
      std::iota(expected.begin(), expected.end(), 10);
      expect(world.all_gather(10 + world.info().rank) == expected, "all-gather: by rank");
      const std::vector<std::string> texts =
          world.all_gather_text(std::string(static_cast<std::size_t>(world.info().rank), 'x'));
      for (int rank = 0; rank < ranks; ++rank)
        expect(texts[static_cast<std::size_t>(rank)] == std::string(static_cast<std::size_t>(rank), 'x'),
               "texts of any length");
      for (int root = 0; root < ranks; ++root) {
        std::string text = world.info().rank == root ? "from " + std::to_string(root) : "";
        world.broadcast(text, root);
        expect(text == "from " + std::to_string(root), "broadcast: the root's");
      }
    });
  }
}

TEST_CASE("world: a vote is answered by the one before it, alike on all ranks") {
  run_ranks(4, [](World& world) {
    for (int round = 0; round < 8; ++round) {
      const bool asked = round == 3 && world.info().rank == 2;
      expect(world.any_before(asked) == (round == 4), "every rank hears of it one vote later");
    }
  });
}

TEST_CASE("world: jobs run in order, and what one throws reaches who waits for it or for a later one") {
  run_ranks(2, [](World& world) {
    std::vector<int> order;
    world.submit("first", [&](Link&) { order.push_back(1); });
    const JobNumber second = world.submit("second", [&](Link&) { order.push_back(2); });
    world.wait(second);
    expect(order == std::vector{1, 2}, "in order");
    world.submit("fails", [](Link&) { throw failure("broken"); });
    const JobNumber last = world.submit("after", [&](Link&) { order.push_back(3); });
    expect(message_of([&] { world.wait(last); }) == "broken", "what an earlier job threw");
    expect(order.size() == 2, "nothing runs after a failure");
  });
}

TEST_CASE("world: bytes sent are counted by what they are for") {
  run_ranks(3, [](World& world) {
    const auto job = [&](std::size_t bytes) {
      return [&, bytes](Link& link) {
        std::vector<std::byte> memory(2 * bytes);
        const Outgoing out{(world.info().rank + 1) % 3, std::span(memory).first(bytes)};
        const Incoming in{(world.info().rank + 2) % 3, std::span(memory).last(bytes)};
        link.exchange({&out, 1}, {&in, 1});
      };
    };
    world.submit("reduce", job(100), TrafficKind::reduced);
    world.submit("gather", job(30), TrafficKind::gathered);
    world.wait(world.submit("gather", job(4), TrafficKind::gathered));
    expect(world.traffic().reduced == 100 && world.traffic().gathered == 34 && world.traffic().host == 0, "counted");
  });
}

TEST_CASE("world: together, all ranks throw the error of the lowest that failed, and go on exchanging") {
  run_ranks(4, [](World& world) {
    const std::string one = message_of([&] {
      world.together("the data", [&] {
        if (world.info().rank >= 2) throw input_error("rank {} cannot read it", world.info().rank);
      });
    });
    expect(one == fmt::format("rank 2 on host {}: the data: rank 2 cannot read it", world.info().host), "the lowest");
    expect(message_of([&] { world.together("the config", [] { throw input_error("steps is -1"); }); }) == "steps is -1",
           "what all say is said once, without a rank");
    int done = 0;
    world.together("nothing wrong", [&] { ++done; });
    expect(done == 1, "f ran");
    world.barrier();
  });
}

TEST_CASE("world: ranks that ask for different things are told so; silence has an end, and names who is missing") {
  CHECK_THROWS_WITH(
      run_ranks(2,
                [](World& world) {
                  world.wait(world.submit(world.info().rank == 0 ? "reduce a" : "reduce b", [](Link&) {}));
                  world.barrier();
                }),
      Catch::Matchers::Contains("reduce a") && Catch::Matchers::Contains("reduce b"));
  CHECK_THROWS_WITH(run_ranks(2,
                              [](World& world) {
                                world.set_timeout(std::chrono::seconds(1));
                                if (world.info().rank == 0) world.barrier();
                              }),
                    Catch::Matchers::Contains("waited 1 s for rank 1"));
}

TEST_CASE("failure: the first rank's note is kept, all end, and the next start tells of it once") {
  const TemporaryFolder run("failure");
  std::atomic<int> ended = 0;
  CHECK_THROWS_AS(run_ranks(3,
                            [&](World& world) {
                              ++ended;
                              fail_together(world, run.path, 7, ExitCode::bad_input, "the data is damaged");
                            }),
                  Aborted);
  CHECK(ended == 3);
  CHECK_FALSE(write_failure(run.path, {.message = "a second one"}));
  const std::string told = take_failure(run.path);
  CHECK_THAT(told, Catch::Matchers::Contains("at step 7 by rank") && Catch::Matchers::Contains("the data is damaged"));
  CHECK(take_failure(run.path).empty());
}

TEST_CASE("launch: what launchers leave in the environment, and what is none") {
  const auto with = [](std::vector<std::pair<const char*, const char*>> variables, auto f) {
    for (const auto& [name, value] : variables) ::setenv(name, value, 1);
    const auto result = f();
    for (const auto& [name, value] : variables) ::unsetenv(name);
    return result;
  };
  const auto ranks = [] { return std::pair(launched_ranks(), launched_rank()); };
  CHECK(with({}, ranks) == std::pair(1, 0));
  CHECK(with({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}}, ranks) == std::pair(4, 3));
  CHECK(with({{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}}, ranks) == std::pair(2, 1));
  CHECK(with({{"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_PROCID", "5"}}, ranks) == std::pair(8, 5));
  CHECK(with({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "5"}}, ranks) == std::pair(1, 0));  // a batch script without srun
  CHECK(with({{"PMIX_RANK", "0"}}, ranks) == std::pair(1, 0));
  CHECK(with({{"OMPI_COMM_WORLD_SIZE", "many"}}, ranks) == std::pair(1, 0));
  CHECK(with({{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}}, [] {
          return message_of([] { refuse_ranks("plan"); });
        }).starts_with("bittern plan was started as 2 processes"));
  CHECK(message_of([] { refuse_ranks("plan"); }) == "nothing was thrown");
}
