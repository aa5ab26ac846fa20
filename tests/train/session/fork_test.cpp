// Changing a run: --fork begins a new one from a checkpoint, a run whose rates stay is resumed with another schedule, and
// what neither can do is refused with what can.
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "bittern/prepare.h"
#include "bittern/report.h"
#include "catch.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;
using nlohmann::json;

namespace {

std::string checkpoint(const std::string& run, std::int64_t step) {
  return run + "/checkpoints/" + checkpoint_name(step);
}

std::vector<json> after(const std::vector<json>& lines, std::int64_t step) {
  std::vector<json> late;
  for (const json& line : lines)
    if (line["step"] > step) late.push_back(line);
  return late;
}

json fork_of(const std::string& run) {
  return json::parse(bytes_of(run + "/fork.json"));
}

/// A copy of the reference run that stopped at `step`.
std::string stopped_at(std::int64_t step, const std::string& folder) {
  fs::copy(reference_run(), folder, fs::copy_options::recursive);
  for (const std::int64_t later : {3, 6, 9, 12})
    if (later > step) fs::remove_all(checkpoint(folder, later));
  return folder;
}

}  // namespace

TEST_CASE("fork: without a change it has the bits of the run that goes on, and the old run is not touched") {
  const Scratch scratch("fork_same");
  const std::string fork = scratch.path + "/fork";
  const auto old = content(reference_run());
  REQUIRE(train(config(), {.out = fork, .fork = checkpoint(reference_run(), 6)}) == ExitCode::ok);
  for (const std::int64_t step : {9, 12}) {
    check_same_weights(fork, reference_run(), step);
    json ours = json::parse(bytes_of(checkpoint(fork, step) + "/trainer.json")),
         theirs = json::parse(bytes_of(checkpoint(reference_run(), step) + "/trainer.json"));
    for (json* trainer : {&ours, &theirs}) trainer->erase("proven_checkpoint");  // each run's own
    CHECK(ours == theirs);
  }
  CHECK(after(metrics(fork), 6) == after(metrics(reference_run()), 6));
  CHECK(content(reference_run()) == old);
  CHECK(fork_of(fork) == json{{"checkpoint", checkpoint(reference_run(), 6)}, {"step", 6}, {"changed", json::array()}});
  CHECK_THAT(bytes_of(fork + "/log.txt"), Catch::Contains("at step 6; nothing is changed"));
}

TEST_CASE("fork: under another config it keeps weights, moments and step, and goes on like any run afterwards") {
  const Scratch scratch("fork_changed");
  const std::string whole = scratch.path + "/whole", stopped = scratch.path + "/stopped";
  const std::string other = R"({"schedule":{"lr":0.003},"optimizer":{"weight_decay":0},"train":{"sample_every":3}})";
  const TrainOptions options{.out = whole, .fork = checkpoint(reference_run(), 6)};
  REQUIRE(train(config(other), options) == ExitCode::ok);
  // The first step is that of the old run up to its update: weights and data are the same. Then the rate is another.
  const auto loss = [](const std::string& run, std::int64_t step) -> json {
    for (const json& line : metrics(run))
      if (line["step"] == step && line.contains("loss")) return line["loss"];
    return nullptr;
  };
  CHECK(loss(whole, 7) == loss(reference_run(), 7));
  CHECK(loss(whole, 7).is_number());
  CHECK(loss(whole, 9) != loss(reference_run(), 9));
  const json changed = json::array({"schedule.lr: 0.01 -> 0.003", "schedule.second_weight_decay: 0.1 -> 0.0",
                                    "optimizer.weight_decay: 0.1 -> 0.0", "train.sample_every: 6 -> 3"});
  CHECK(fork_of(whole)["changed"] == changed);
  for (const json& line : changed)
    CHECK_THAT(bytes_of(whole + "/log.txt"), Catch::Contains("changed by the fork: " + line.get<std::string>()));
  for (const std::string& shown : {bytes_of(whole + "/report.html"), Report({whole}).table()})
    CHECK_THAT(shown, Catch::Contains("at step 6; changed: schedule.lr: 0.01 -"));
  // Stopped half-way, it is resumed by a plain command and by the one that began it.
  fs::copy(whole, stopped, fs::copy_options::recursive);
  for (const std::string& source : {std::string(), options.fork}) {
    fs::remove_all(checkpoint(stopped, 12));
    REQUIRE(train(config(other), {.out = stopped, .fork = source}) == ExitCode::ok);
    check_same_weights(stopped, whole, 12);
  }
  check_refused([&] { train(config(), {.out = stopped}); }, "schedule.lr: 0.003 -> 0.01");
  // Stopped before its first checkpoint, it is begun again by the same command alone.
  fs::remove_all(stopped + "/checkpoints");
  check_refused([&] { train(config(other), {.out = stopped}); }, "was begun with --fork " + options.fork);
  REQUIRE(train(config(other), {.out = stopped, .fork = options.fork}) == ExitCode::ok);
  check_same_weights(stopped, whole, 12);
}

TEST_CASE("fork: what would store other tensors is refused by key, with what works instead") {
  const Scratch scratch("fork_tensors");
  const std::string source = checkpoint(reference_run(), 6);
  int made = 0;
  for (const auto& [extra, key] : std::vector<std::pair<std::string, std::string>>{
           {R"({"model":{"hidden_size":64}})", "model.hidden_size: 32 -> 64"},
           {R"({"model":{"tie_word_embeddings":true}})", "model.tie_word_embeddings: false -> true"},
           {R"({"weights":{"block_linear":{"codec":"bf16"}}})", "weights.mlp_linear.codec: \"f32\" -> \"bf16\""},
           {R"({"optimizer":{"states":{"m":"bf16"}}})", "optimizer.states.m: \"f32\" -> \"bf16\""},
           {R"({"optimizer":{"rule":"sgdm"}})", "optimizer.rule: \"adamw\" -> \"sgdm\""},
           // No key of tensors, but without a first beta there is no first moment.
           {R"({"optimizer":{"betas":[0,0.95]}})",
            "m.model.embed_tokens.weight, and the config asks for no such tensor"},
           {R"({"optimizer":{"betas":[0,0.95]}})", "optimizer.betas: [0.9,0.95] -> [0.0,0.95]"}}) {
    const std::string out = scratch.path + "/" + std::to_string(made++);
    check_refused([&] { train(config(extra), {.out = out, .fork = source}); }, key);
    check_refused([&] { train(config(extra), {.out = out, .fork = source}); },
                  "bittern train CONFIG --init " + source + " --out NEW");
    for (const char* name : {"/fork.json", "/start.json", "/config.json"}) CHECK_FALSE(fs::exists(out + name));
  }
}

TEST_CASE(
    "fork and --init: stopped before its first checkpoint, a run begins again where it began, not where its source is") {
  const Scratch scratch("fork_again");
  const std::string other = R"({"schedule":{"lr":0.003},"train":{"steps":10}})";
  for (const char* option : {"fork", "init", "resume"}) {
    INFO(option);
    const std::string is = option, source = stopped_at(6, scratch.path + "/source_" + is),
                      out = scratch.path + "/" + is;
    // A resumed run must be the same run.
    const std::string changed = is == "resume" ? "{}" : other;
    const auto begin = [&] {
      TrainOptions options{.out = out};
      (is == "fork" ? options.fork : is == "init" ? options.init : options.resume) = source;
      return train(config(changed), options);
    };
    REQUIRE(begin() == ExitCode::ok);
    CHECK(json::parse(bytes_of(out + "/start.json"))["folder"] == checkpoint(source, 6));
    const std::int64_t last = is == "resume" ? 12 : 10;
    fs::rename(out + "/checkpoints", scratch.path + "/checkpoints_" + is);
    fs::copy(checkpoint(reference_run(), 9), checkpoint(source, 9), fs::copy_options::recursive);
    REQUIRE(begin() == ExitCode::ok);
    const std::string again = bytes_of(checkpoint(out, last) + "/model.safetensors");
    CHECK(again == bytes_of(scratch.path + "/checkpoints_" + is + "/" + checkpoint_name(last) + "/model.safetensors"));
    CHECK_FALSE(again.empty());
    CHECK(fs::exists(checkpoint(out, 9)));
    // The checkpoint that it began from is gone.
    fs::remove_all(out + "/checkpoints");
    fs::remove_all(checkpoint(source, 6));
    check_refused(begin, "the run was begun from " + checkpoint(source, 6) + " (--" + is + " " + source + ")");
  }
}

TEST_CASE("--init: what is refused leaves nothing that a later command would go by") {
  const Scratch scratch("init_refused");
  const std::string out = scratch.path + "/run", small = R"({"train":{"steps":2},"model":{"intermediate_size":64}})";
  check_refused([&] { train(config(small), {.out = out, .init = reference_run()}); }, "gate_proj");
  check_refused([&] { train(config(small), {.out = out, .init = scratch.path + "/none"}); }, "none: not a folder");
  CHECK_FALSE(fs::exists(out + "/start.json"));
  CHECK(train(config(small), {.out = out}) == ExitCode::ok);
}

TEST_CASE("fork: options that contradict it, a folder that holds a run, and a run that is over are refused") {
  const Scratch scratch("fork_refused");
  const std::string source = checkpoint(reference_run(), 6), out = scratch.path + "/new";
  check_refused([&] { train(config(), {.out = out, .init = source, .fork = source}); },
                "--fork and --init contradict each other: --fork keeps moments and step");
  check_refused([&] { train(config(), {.out = out, .resume = source, .fork = source}); },
                "--fork and --resume " + source + " contradict each other: --fork begins another run");
  check_refused([&] { train(config(), {.out = out, .fork = reference_run()}); },
                "it is of step 12, and train.steps is 12: there is nothing left to train; raise train.steps");
  CHECK_FALSE(fs::exists(out + "/start.json"));  // a folder does not remember what was refused
  check_refused([&] { train(config(), {.out = out, .fork = scratch.path + "/nowhere"}); }, "nowhere: not a folder");
  const std::string run = stopped_at(9, scratch.path + "/run");
  const auto before = content(run + "/checkpoints");
  check_refused([&] { train(config(), {.out = run, .fork = checkpoint(run, 6)}); },
                "--fork starts a new run, and " + run + " already holds one that was begun otherwise");
  CHECK(content(run + "/checkpoints") == before);
}

TEST_CASE("fork: which sample comes next is said where batch or data changed") {
  const Scratch scratch("fork_samples");
  const std::string source = checkpoint(reference_run(), 6);
  const auto said = [&](const std::string& name, const std::string& extra) {
    const std::string out = scratch.path + "/" + name;
    REQUIRE(train(config(extra), {.out = out, .fork = source}) == ExitCode::ok);
    return bytes_of(out + "/log.txt");
  };
  CHECK_THAT(said("larger", R"({"train":{"batch_sequences":6}})"),
             Catch::Contains("the next sequence is number 36 of epoch 0") &&
                 Catch::Contains("as after 6 steps of 6; 12 sequences before it are passed over"));
  CHECK_THAT(said("smaller", R"({"train":{"batch_sequences":2}})"),
             Catch::Contains("the next sequence is number 12 of epoch 0") &&
                 Catch::Contains("12 sequences from it on are learned again"));
  CHECK_THAT(said("seed", R"({"run":{"seed":4}})"), Catch::Contains("the next sequence is number 24") &&
                                                        Catch::Contains("the order of the data is another one"));
  CHECK_THAT(said("rate", R"({"schedule":{"lr":0.02}})"), !Catch::Contains("the next sequence"));
}

TEST_CASE("fork: on other data of the same tokenizer it goes on and says so; of another tokenizer it is refused") {
  const Scratch scratch("fork_data");
  const std::string source = checkpoint(reference_run(), 6), same = scratch.path + "/same",
                    other = scratch.path + "/other";
  write_sentences(scratch.path + "/text.txt", 2000);
  PrepareOptions options;
  options.inputs = {scratch.path + "/text.txt"};
  options.valid_fraction = 0.05;
  options.out = other;
  options.vocab_size = 310;
  prepare(options, {});
  options.out = same;
  options.vocab_size = 0;
  options.tokenizer = corpus() + "/tokenizer.model";
  prepare(options, {});
  const auto on = [](const std::string& data) {
    return config(json{{"data", {{"path", data}}}, {"model", {{"vocab_size", 320}}}}.dump());
  };
  const std::string run = stopped_at(6, scratch.path + "/run");
  check_refused([&] { train(on(same), {.out = run}); },
                "bittern train CONFIG --fork " + checkpoint(run, 6) + " --out NEW");
  REQUIRE(train(on(same), {.out = scratch.path + "/fork", .fork = source}) == ExitCode::ok);
  CHECK_THAT(bytes_of(scratch.path + "/fork/log.txt"), Catch::Contains("changed by the fork: data: fingerprint") &&
                                                           Catch::Contains("the next sequence is number 24"));
  check_refused([&] { train(on(other), {.out = scratch.path + "/refused", .fork = source}); },
                "its tokenizer.model is not the one that data.path " + other + " was made with");
}

TEST_CASE("resume: a run is made longer, or begins to decay, while the rates of the steps already made stay") {
  const Scratch scratch("resume_rates");
  const std::string wsd = R"({"schedule":{"shape":"wsd","decay_fraction":0.25}})";  // falls from step 9 on
  const std::string longer = R"({"schedule":{"shape":"wsd","decay_fraction":0.25},"train":{"steps":16}})";
  const std::string run = scratch.path + "/run", whole = scratch.path + "/whole";
  REQUIRE(train(config(wsd), {.out = run}) == ExitCode::ok);
  REQUIRE(train(config(longer), {.out = whole}) == ExitCode::ok);
  // At the end it has decayed: another run, which a fork makes.
  check_refused(run, longer,
                "train.steps: 12 -> 16\nGive the old values back, or begin a new run that goes on from it");
  REQUIRE(train(config(longer), {.out = scratch.path + "/fork", .fork = run}) == ExitCode::ok);
  fs::remove_all(checkpoint(run, 12));
  REQUIRE(train(config(longer), {.out = run}) == ExitCode::ok);
  CHECK_THAT(bytes_of(run + "/log.txt"), Catch::Contains("changed since the run began: train.steps: 12 -> 16"));
  for (const std::int64_t step : {9, 12, 15, 16}) check_same_weights(run, whole, step);

  // A constant rate, stopped after 6 steps, begins to fall.
  const std::string constant = scratch.path + "/constant", decayed = scratch.path + "/decayed";
  REQUIRE(train(config(R"({"schedule":{"shape":"constant"},"train":{"steps":6}})"), {.out = constant}) == ExitCode::ok);
  REQUIRE(train(config(wsd), {.out = constant}) == ExitCode::ok);
  REQUIRE(train(config(wsd), {.out = decayed}) == ExitCode::ok);
  check_same_weights(constant, decayed, 12);
}
