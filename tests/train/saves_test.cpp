// Saves: what a run that diverges keeps, and what it goes on from.
#include "train/saves.h"

#include <limits>

#include "catch.h"
#include "train/device_values.h"
#include "train/session/set_up.h"
#include "train/step.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;

namespace {

constexpr const char* keep_one = R"({"train":{"keep_checkpoints":1,"steps":60}})";

/// A run whose steps and saves are made by hand.
struct ByHand {
  std::string folder;
  Console console{2};
  Training t;
  Watchers watchers;
  DataCheck data_check;
  Saves saves;

  explicit ByHand(const std::string& out, const std::string& extra = keep_one)
      : folder(out),
        t(set_up_training(config(extra), {.out = out}, console)),
        watchers(*t.session, t.state.step, console, 0),
        data_check({&t.session->data->stream}),
        saves(*t.session, t.state, watchers, data_check) {}
  ~ByHand() { stop_logging(); }

  DeviceNumber a_weight() {
    for (const Parameter& parameter : t.session->model->parameters())
      if (parameter.spec.name == "model.norm.weight")
        return {*t.session->backend, t.session->arena->view(parameter.weight), 0};
    throw std::runtime_error("no norm");
  }
  void step() {
    REQUIRE(train_step(*t.session, t.state, Batch(*t.session, t.state.step + 1)));
    saves.after_step();
    saves.wait();
  }
  void save() {
    saves.begin();
    saves.wait();
  }
  /// Steps whose loss is not finite.
  void skipped_steps(int count) {
    const float good = a_weight();
    a_weight() = std::numeric_limits<float>::quiet_NaN();
    for (int i = 0; i < count; ++i) step();
    a_weight() = good;
  }
  std::vector<std::int64_t> there() const { return checkpoint_steps(folder); }
};
using Steps = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("saves: an older checkpoint goes when a step with an update has followed the newer one") {
  const Scratch scratch("saves_proven");
  ByHand run(scratch.path + "/run");
  run.step();
  run.save();
  CHECK(run.saves.newest_proven().empty());
  run.step();
  CHECK(run.saves.newest_proven() == run.folder + "/checkpoints/" + checkpoint_name(1));
  run.save();
  CHECK(run.there() == Steps{2, 1});
  run.step();
  CHECK(run.t.state.proven_checkpoint == 2);
  CHECK(run.there() == Steps{2});
  // A save that ends only when the next one is due: steps have followed it all the same.
  run.step();
  run.saves.begin();
  REQUIRE(train_step(*run.t.session, run.t.state, Batch(*run.t.session, 5)));
  run.save();
  CHECK(run.t.state.proven_checkpoint == 4);
  CHECK(run.there() == Steps{5, 4});
}

TEST_CASE("saves: while steps are skipped nothing is saved at an interval, and nothing is pruned at the end") {
  const Scratch scratch("saves_skipped");
  const std::string folder = scratch.path + "/run";
  {
    ByHand run(folder);
    run.step();
    run.save();
    run.step();
    run.save();  // the step after this one is the first that is skipped
    for (int i = 0; i < 3; ++i) {
      run.skipped_steps(1);
      run.save();
      CHECK(run.there() == Steps{2, 1});
    }
    CHECK(run.saves.newest_proven() == folder + "/checkpoints/" + checkpoint_name(1));
    run.saves.now();
    CHECK(run.there() == Steps{5, 2, 1});
  }
  // Of the three the newest whose last step was not skipped is what the run goes on from; what is proven is remembered.
  CHECK(find_latest(folder).step == 2);
  {
    ByHand run(folder);
    CHECK(run.t.state.step == 2);
    CHECK(run.t.state.proven_checkpoint == 1);
    run.skipped_steps(2);
    CHECK(run.saves.newest_proven() == folder + "/checkpoints/" + checkpoint_name(1));
    run.step();
    CHECK(run.t.state.proven_checkpoint == 2);
    run.save();  // in place of the one that was saved after skipped steps
    CHECK(run.there() == Steps{5, 2});
    CHECK(find_latest(folder).step == 5);
  }
  fs::remove_all(folder + "/checkpoints/" + checkpoint_name(2));
  CHECK(find_latest(folder).step == 5);
}

TEST_CASE("saves: a checkpoint of a run whose steps were all skipped is better than none") {
  const Scratch scratch("saves_only_skipped");
  ByHand run(scratch.path + "/run");
  run.skipped_steps(2);
  run.saves.now();
  CHECK(run.there() == Steps{2});
  CHECK(find_latest(run.folder).step == 2);
}

TEST_CASE("saves: weights that are not finite are not saved at an interval, and nothing goes on from them") {
  const Scratch scratch("saves_not_finite");
  const std::string folder = scratch.path + "/run";
  {
    ByHand run(folder);
    run.step();
    run.save();
    run.step();
    run.a_weight() = std::numeric_limits<float>::infinity();  // the last update went wrong: its step was not skipped
    run.save();
    CHECK(run.there() == Steps{1});
    CHECK_THAT(bytes_of(folder + "/log.txt"),
               Catch::Contains("step_00000002: not saved: model.norm.weight holds a number that is not finite"));
    run.saves.now();
    CHECK(run.there() == Steps{2, 1});
  }
  CHECK(find_latest(folder).step == 1);
  fs::remove_all(folder + "/checkpoints/" + checkpoint_name(1));
  CHECK(find_latest(folder).step == 2);
  CHECK_THROWS_WITH(ByHand(folder), Catch::Contains("model.norm.weight is inf at element 0"));
}

TEST_CASE("saves: every stored type of number is looked at") {
  const auto holds_bad = [](const char* dtype, std::vector<std::uint8_t> bytes) {
    const std::vector<NamedTensor> tensors = {
        {.name = "x", .dtype = dtype, .shape = {}, .data = std::as_bytes(std::span(bytes))}};
    return find_not_finite(tensors) != nullptr;
  };
  CHECK(holds_bad("F32", {0, 0, 0, 0, 0, 0, 0x80, 0x7f}));  // 0, inf
  CHECK(holds_bad("F32", {0, 0, 0xc0, 0xff, 0, 0, 0, 0}));  // -nan, 0
  CHECK_FALSE(holds_bad("F32", {0xff, 0xff, 0x7f, 0x7f}));  // the largest
  CHECK(holds_bad("BF16", {0x80, 0x7f}));
  CHECK_FALSE(holds_bad("BF16", {0x7f, 0x7f}));
  CHECK(holds_bad("F8_E4M3", {0x7e, 0xff}));
  CHECK_FALSE(holds_bad("F8_E4M3", {0x7e, 0xfe, 0x78}));
  CHECK_FALSE(holds_bad("U8", {0xff, 0x7f}));
}

TEST_CASE("saves: in pieces, without a copy, the checkpoints are those of a run that copies, and the pause is told") {
  const Scratch scratch("saves_pieces");
  const std::string run = scratch.path + "/run", pieces = R"({"train":{"snapshot":"pieces"}})";
  RunConfig planned = config(pieces);
  planned.model.vocab_size = 320;
  CHECK(Session::for_training(planned, 10)->plan.whole_run_bytes(Category::snapshot) == 0);
  planned.train.snapshot = "auto";
  CHECK(Session::for_training(planned, 10)->plan.whole_run_bytes(Category::snapshot) ==
        3 * 4 * 36000);  // weights and two moments
  REQUIRE(train(config(pieces), {.out = run}) == ExitCode::ok);
  for (const std::int64_t step : {3, 6, 9, 12}) check_same_weights(reference_run(), run, step);
  CHECK(metrics(run) == metrics(reference_run()));
  for (const std::string& of : {run, reference_run()}) {
    std::vector<int> paused;  // the step after a save says how long it paused, the log only of a pause that one notices
    std::size_t noticed = 0;
    std::ifstream file(of + "/metrics.jsonl");
    for (std::string line; std::getline(file, line);)
      if (const auto json = nlohmann::json::parse(line); json.contains("save_ms")) {
        paused.push_back(json["step"]);
        CHECK(json["save_ms"].get<double>() > 0);
        noticed += json["save_ms"].get<double>() >= 50;
      }
    CHECK(paused == std::vector<int>{4, 7, 10});
    const std::string log = bytes_of(of + "/log.txt"), line = ": training paused for ";
    std::size_t said = 0;
    for (std::size_t at = log.find(line); at != std::string::npos; at = log.find(line, at + 1)) ++said;
    CHECK(said == noticed);
  }
}

TEST_CASE("saves: in pieces, what fails is tried again at the next interval, and old checkpoints are pruned") {
  const Scratch scratch("saves_pieces_failed");
  const std::string folder = scratch.path + "/run";
  ByHand run(folder, R"({"train":{"keep_checkpoints":1,"steps":60,"snapshot":"pieces"}})");
  run.step();
  run.save();
  CHECK(run.there() == Steps{1});
  run.step();
  const float good = run.a_weight();
  run.a_weight() = std::numeric_limits<float>::infinity();
  run.save();
  CHECK(run.there() == Steps{1});
  CHECK_THAT(bytes_of(folder + "/log.txt"),
             Catch::Contains("step_00000002: not saved: model.norm.weight holds a number that is not finite") &&
                 Catch::Contains("1 saves in a row have failed; the run goes on"));
  run.a_weight() = good;
  run.step();
  run.save();
  CHECK(run.there() == Steps{3, 1});  // 1 is the newest that is proven
  run.step();
  CHECK(run.there() == Steps{3});
  CHECK_THAT(bytes_of(folder + "/log.txt"), Catch::Contains("saved again, at step 3, after 1 saves that failed"));
}
