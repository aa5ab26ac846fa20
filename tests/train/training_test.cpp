// Whole runs of a tiny model: they learn, they resume bit for bit, and threads, recomputation and interruption change
// nothing.
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bittern/checkpoint.h"
#include "bittern/config.h"
#include "bittern/file.h"
#include "bittern/trainer.h"
#include "catch.h"
#include "store/storage_support.h"
#include "train/infer/inference.h"
#include "train/session/session.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;
namespace fs = std::filesystem;

TEST_CASE("training: a tiny model learns, and everything that watches it is there") {
  const std::string& run = reference_run();
  const auto lines = metrics(run);
  double first = 0, last = 0;
  std::vector<int> evaluated, sampled;
  for (const auto& line : lines) {
    if (line.contains("loss") && line["step"] == 1) first = line["loss"];
    if (line.contains("loss") && line["step"] == 12) last = line["loss"];
    if (line.contains("valid_loss")) evaluated.push_back(line["step"]);
    if (line.contains("sample")) sampled.push_back(line["step"]);
  }
  CHECK(evaluated == std::vector<int>{4, 8, 12});  // evaluate_every 4 of 12 steps, sample_every 6
  CHECK(sampled == std::vector<int>{6, 12});
  CHECK(first == Approx(std::log(320.0)).epsilon(0.05));
  CHECK(last < first - 0.5);
  for (const char* file : {"config.json", "metrics.jsonl", "report.html", "heartbeat.json", "log.txt", "tensorboard"}) {
    INFO(file);
    CHECK(fs::exists(run + "/" + file));
  }
  for (const std::int64_t step : {3, 6, 9, 12}) CHECK(fs::exists(run + "/checkpoints/" + checkpoint_name(step)));
}

TEST_CASE("training: without periodic checkpoints the last step is saved, and a finished run stays as it is") {
  const Scratch scratch("training_end");
  const std::string run = scratch.path + "/run", never = R"({"train":{"checkpoint_every":0}})";
  REQUIRE(train(config(never), {.out = run}) == ExitCode::ok);
  check_same_weights(reference_run(), run, 12);
  const auto before = metrics(run);
  REQUIRE(train(config(never), {.out = run}) == ExitCode::ok);
  CHECK(metrics(run) == before);
}

TEST_CASE("training: an evaluation that a stop interrupted is made when the run goes on") {
  const Scratch scratch("training_owed");
  const std::string run = scratch.path + "/run";
  fs::copy(reference_run(), run, fs::copy_options::recursive);
  // What a stop in the last evaluation leaves: the step is saved, its evaluation and sample are not noted.
  std::vector<std::string> lines;
  {
    std::ifstream file(run + "/metrics.jsonl");
    for (std::string line; std::getline(file, line);) lines.push_back(line);
  }
  {
    std::ofstream file(run + "/metrics.jsonl");
    for (const std::string& line : lines)
      if (nlohmann::json::parse(line)["step"] != 12 || line.find("grad_norm") != std::string::npos)
        file << line << '\n';
  }
  REQUIRE(metrics(run).size() == metrics(reference_run()).size() - 2);
  for (int again = 0; again < 2; ++again) {
    REQUIRE(train(config(), {.out = run}) == ExitCode::ok);
    CHECK(metrics(run) == metrics(reference_run()));
  }
}

TEST_CASE("training: a damaged start.json is read or refused, and the run is as it was") {
  const Scratch scratch("training_start");
  const std::string run = scratch.path + "/run", start = run + "/start.json";
  fs::copy(reference_run(), run, fs::copy_options::recursive);
  // What it refuses is the file, or that another run is asked for.
  const int refused = storage_test::refusals_of_damaged(bytes_of(start), 60, run, [&](const std::string& bad) {
    storage_test::write_bytes(start, bad);
    train(config(), {.out = run});
  });
  CHECK(refused > 15);
  check_same_weights(reference_run(), run, 12);
}

TEST_CASE("training: bits do not depend on threads or recomputation") {
  for (const std::string extra : {R"({"run":{"threads":1}})", R"({"run":{"threads":2}})", R"({"run":{"threads":3}})",
                                  R"({"run":{"threads":8}})", R"({"train":{"recompute":"block"}})"}) {
    INFO(extra);
    const Scratch scratch("training_variant");
    const std::string run = scratch.path + "/run";
    REQUIRE(train(config(extra), {.out = run}) == ExitCode::ok);
    check_same_weights(reference_run(), run, 12);
  }
}

TEST_CASE("training: bf16 compute resumes and recomputes bit for bit too") {
  const std::string bf16 = R"({"precision":{"compute":"bf16"},"optimizer":{"states":{"m":"bf16","v":"bf16"}},
    "weights":{"block_linear":{"codec":"bf16","rounding":"stochastic"},"embedding":{"codec":"bf16","master":"f32"}}})";
  const Scratch scratch("training_bf16");
  const std::string a = scratch.path + "/a", b = scratch.path + "/b", c = scratch.path + "/c";
  REQUIRE(train(config(bf16), {.out = a}) == ExitCode::ok);
  nlohmann::json recompute = nlohmann::json::parse(bf16);
  recompute["train"]["recompute"] = "block";
  REQUIRE(train(config(recompute.dump()), {.out = b}) == ExitCode::ok);
  check_same_weights(a, b, 12);
  fs::copy(a, c, fs::copy_options::recursive);
  for (const std::int64_t step : {9, 12}) fs::remove_all(c + "/checkpoints/" + checkpoint_name(step));
  REQUIRE(train(config(bf16), {.out = c}) == ExitCode::ok);
  check_same_weights(a, c, 12);
}

TEST_CASE("training: every recipe resumes bit for bit, its statistics too, and its bits do not depend on threads") {
  const auto [name, recipe] = GENERATE(table<std::string, std::string>({
      {"eco", R"({"weights":{"block_linear":{"codec":"fp8_e4m3","rounding":"stochastic","error_feedback":"eco"}}})"},
      {"eco_int4",
       R"({"weights":{"block_linear":{"codec":"int","bits":4,"scale_per":"tensor","error_feedback":"eco"}}})"},
      {"fp8_master", R"({"weights":{"block_linear":{"codec":"fp8_e4m3","master":"bf16","master_rounding":"stochastic"}},
                         "precision":{"activations":"fp8_e4m3_row"}})"},
      {"bitnet", R"({"weights":{"block_linear":{"codec":"ternary","master":"fp8_e4m3"}},
                     "precision":{"activations":"int8_token"}})"},
      {"dqt", R"({"weights":{"block_linear":{"codec":"int","bits":3,"range":"full","scale_per":"tensor",
                                             "scale_from":"absmean","rounding":"stochastic"}}})"},
      {"dqt_all", R"({"weights":{"block_linear":{"codec":"ternary","rounding":"stochastic"},
                                 "embedding":{"codec":"int","bits":5},"head":{"codec":"int","bits":8}}})"},
      {"solo",
       R"({"optimizer":{"betas":[0.3,0.95],"states":{"m":"de4","v":"log2","min_elements":0,"head_m":"de4","block":16}}})"},
      {"factor", R"({"optimizer":{"states":{"m":"de4","v":"factored","min_elements":0,"on":"all"}}})"},
      {"rank1",
       R"({"optimizer":{"states":{"m":"dynamic8","v":"rank1_linear4","min_elements":0,"m_rounding":"stochastic"}}})"},
      {"zip",
       R"({"optimizer":{"states":{"m":"nf4","v":"zip_de4","min_elements":0,"m_rounding":"stochastic","block":16}}})"},
      {"companded", R"({"optimizer":{"states":{"m":"softsign8","v":"sqrt8","min_elements":0,"block":32}}})"},
      {"eco_solo", R"({"weights":{"block_linear":{"codec":"fp8_e4m3","error_feedback":"eco"}},
                       "optimizer":{"states":{"m":"fp8","v":"log4","min_elements":0}}})"},
      {"eco_sgdm", R"({"optimizer":{"rule":"sgdm"},
                       "weights":{"block_linear":{"codec":"fp8_e4m3","rounding":"stochastic","error_feedback":"eco"}}})"},
      {"adafactor",
       R"({"optimizer":{"rule":"adafactor","betas":[0,0.95],"states":{"v":"factored","min_elements":0}}})"},
      {"muon", R"({"optimizer":{"rule":"muon","others":"adamw","muon":{"per_head":true}}})"},
      {"muon_fp8",
       R"({"optimizer":{"rule":"muon","states":{"m":"linear8","on":"linears","min_elements":0,"block":2048}},
                       "weights":{"block_linear":{"codec":"fp8_e4m3","rounding":"stochastic"}}})"},
      {"muon_dqt",
       R"({"optimizer":{"rule":"muon","others":"sgdm","betas":[0,0.95],"muon":{"coefficients":"polar_express",
                                    "nesterov":false,"steps":6},
                                    "states":{"m":"de4","on":"linears","min_elements":0,"m_rounding":"stochastic"}},
                       "weights":{"block_linear":{"codec":"ternary","rounding":"stochastic"}}})"},
      {"two_stage", R"({"schedule":{"shape":"two_stage","second_lr":0.005,"final_lr":0.001,"second_weight_decay":0}})"},
  }));
  CAPTURE(name);
  nlohmann::json extra = nlohmann::json::parse(recipe);
  extra.merge_patch(nlohmann::json::parse(R"({"train":{"steps":6,"statistics_every":2,"sample_every":0}})"));
  const Scratch scratch("training_recipe_" + name);
  const std::string whole = scratch.path + "/whole", resumed = scratch.path + "/resumed";
  REQUIRE(train(config(extra.dump()), {.out = whole}) == ExitCode::ok);
  fs::copy(whole, resumed, fs::copy_options::recursive);
  fs::remove_all(resumed + "/checkpoints/" + checkpoint_name(6));
  extra["run"]["threads"] = 3;
  REQUIRE(train(config(extra.dump()), {.out = resumed}) == ExitCode::ok);
  check_same_weights(whole, resumed, 6);
  CHECK(metrics(resumed) == metrics(whole));
  const auto lines = metrics(whole);
  CHECK(std::ranges::count_if(lines, [](const auto& line) { return line.contains("statistics"); }) == 3);
  // Statistics change nothing. Only where the weights have a master is the last step's error known.
  const std::string silent = scratch.path + "/silent";
  extra["train"]["statistics_every"] = 0;
  REQUIRE(train(config(extra.dump()), {.out = silent}) == ExitCode::ok);
  check_same_weights(whole, silent, 6);
  for (const auto& line : lines)
    if (line.contains("statistics"))
      for (const auto& [role, numbers] : line["statistics"].items()) {
        const bool master = (name == "fp8_master" || name == "bitnet") && role.ends_with("_linear");
        CHECK(numbers.contains("error_cosine") == master);
        CHECK(numbers.contains("error_ratio") == master);
        if (master) CHECK((std::abs(numbers["error_cosine"].get<double>()) <= 1 && numbers["error_ratio"] > 0));
      }
  evaluate({.checkpoint = whole, .data = corpus(), .max_sequences = 2});
}

TEST_CASE("training: a codec that changes is refused by its key") {
  const Scratch scratch("training_codec");
  const std::string run = scratch.path + "/run";
  fs::copy(reference_run(), run, fs::copy_options::recursive);
  for (const auto& [extra, key] : std::vector<std::pair<std::string, std::string>>{
           {R"({"weights":{"mlp_linear":{"codec":"fp8_e4m3"}}})", "weights.mlp_linear.codec: \"f32\" -> \"fp8_e4m3\""},
           {R"({"optimizer":{"states":{"v":"log2"}}})", "optimizer.states.v: \"f32\" -> \"log2\""},
           {R"({"precision":{"activations":"int8_token"}})", "precision.activations: \"compute\" -> \"int8_token\""}}) {
    check_refused(run, extra, key);
  }
}

TEST_CASE("training: codes are exported as numbers, and any weights start a run in any codec") {
  const Scratch scratch("training_codes");
  const std::string run = scratch.path + "/run",
                    eight = R"({"weights":{"block_linear":{"codec":"int"}},"train":{"steps":4}})";
  REQUIRE(train(config(eight), {.out = run}) == ExitCode::ok);
  const auto loss_of = [&](const std::string& checkpoint, const std::string& weights) {
    OpenedModel opened = open_model(checkpoint, "f32", weights, 1);
    const auto model = load_model(opened, 4, 24, 0);
    std::vector<std::int32_t> tokens(96), targets(96);
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(i * 37 % 320);
    std::ranges::rotate_copy(tokens, tokens.begin() + 1, targets.begin());
    return model->model->forward(tokens, targets).loss;
  };
  for (const std::string weights : {"stored", "ternary"}) {
    INFO(weights);
    const std::string out = scratch.path + "/" + weights;
    export_checkpoint({.checkpoint = run, .out = out, .dtype = "f32", .weights = weights});
    CHECK(nlohmann::json::parse(bytes_of(out + "/config.json")).contains("quantization_config") == false);
    CHECK(loss_of(out, "stored") == Approx(loss_of(run, weights)).epsilon(1e-5));
  }
  CHECK(loss_of(run, "ternary") != Approx(loss_of(run, "stored")).epsilon(1e-4));
  const std::string again =
      R"({"weights":{"block_linear":{"codec":"fp8_e4m3","master":"f32"}},"train":{"steps":1},"schedule":{"lr":1e-9,"warmup_steps":0}})";
  REQUIRE(train(config(again), {.out = scratch.path + "/again", .init = run}) == ExitCode::ok);
  CHECK(loss_of(scratch.path + "/again", "stored") == Approx(loss_of(run, "stored")).epsilon(0.02));
}

TEST_CASE("training: a config that makes another run is refused by key, and nothing is lost") {
  const Scratch scratch("training_refuse");
  const std::string run = scratch.path + "/run";
  fs::copy(reference_run(), run, fs::copy_options::recursive);
  fs::remove_all(run + "/checkpoints/" + checkpoint_name(12));
  const std::string before = bytes_of(run + "/metrics.jsonl");
  for (const auto& [extra, key] :
       std::vector<std::pair<std::string, std::string>>{{R"({"schedule":{"lr":0.02}})", "schedule.lr"},
                                                        {R"({"run":{"seed":4}})", "run.seed"},
                                                        {R"({"model":{"hidden_size":64}})", "model.hidden_size"}}) {
    check_refused(run, extra, key);
  }
  CHECK(bytes_of(run + "/metrics.jsonl") == before);
  CHECK_THROWS_AS(train(config(), {.out = run, .resume = "never"}), Error);
}

TEST_CASE("training: a new run from the weights of a checkpoint starts at its loss, and the same command goes on") {
  const Scratch scratch("training_init");
  const std::string run = scratch.path + "/run", source = reference_run() + "/checkpoints/" + checkpoint_name(12);
  const std::string two = R"({"train":{"steps":2},"schedule":{"warmup_steps":0}})";
  REQUIRE(train(config(two), {.out = run, .init = source}) == ExitCode::ok);
  CHECK(metrics(run)[1]["loss"].get<double>() < 5.0);
  CHECK(train(config(two), {.out = run, .init = source}) == ExitCode::ok);
  CHECK(train(config(two), {.out = run}) == ExitCode::ok);
  CHECK_THROWS_AS(train(config(two), {.out = run, .init = reference_run()}), Error);  // begun from something else

  // Stopped before its first checkpoint: without --init it would silently be another run.
  fs::remove_all(run + "/checkpoints");
  CHECK_THROWS_AS(train(config(two), {.out = run}), Error);
  CHECK(train(config(two), {.out = run, .init = source}) == ExitCode::ok);
}

TEST_CASE("training: a start.json or trainer.json that lies is refused, however deep it is") {
  const Scratch scratch("training_hostile");
  const std::string run = scratch.path + "/run", deep(400000, '[');
  fs::copy(reference_run(), run, fs::copy_options::recursive);
  const auto write = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(run + "/" + name, std::ios::binary) << bytes;
  };
  const std::string start = bytes_of(run + "/start.json");
  write("start.json", deep);
  check_refused([&] { train(config(), {.out = run}); }, "start.json is nested deeper than 16 levels");
  for (const char* text : {"[]", "{}", R"({"init":1,"resume":""})", R"({"init":""})"}) {
    write("start.json", text);
    check_refused([&] { train(config(), {.out = run}); },
                  "start.json: expected {\"init\": ..., \"resume\": ...}; remove the file");
  }
  write("start.json", start);

  const std::string checkpoint = run + "/checkpoints/" + checkpoint_name(12), text = R"({"config":)" + deep;
  const auto each_command = [&](const std::string& path, const std::string& message) {
    check_refused([&] { evaluate({.checkpoint = path, .data = corpus()}); }, message);
    check_refused([&] { generate({.checkpoint = path, .prompt = "the"}); }, message);
    check_refused([&] { export_checkpoint({.checkpoint = path, .out = scratch.path + "/exported"}); }, message);
    check_refused([&] { train(config(), {.out = scratch.path + "/new", .resume = path}); }, message);
  };
  write("checkpoints/" + checkpoint_name(12) + "/trainer.json", text);
  each_command(checkpoint, "trainer.json: has 400010 bytes; expected ");
  // With a manifest that agrees.
  Manifest manifest = parse_manifest(bytes_of(checkpoint + "/manifest.json"), "manifest.json");
  for (Manifest::File& file : manifest.files)
    if (file.name == "trainer.json")
      file = {.name = file.name, .bytes = static_cast<std::int64_t>(text.size()), .xxh3 = checksum(as_bytes(text))};
  write("checkpoints/" + checkpoint_name(12) + "/manifest.json", manifest_text(manifest));
  for (const std::string& path : {checkpoint, run}) each_command(path, "trainer.json is nested deeper than 16 levels");
}

TEST_CASE("training: a run that another process trains, or that cannot fit, is refused, and nothing is left behind") {
  const Scratch scratch("training_refused");
  const std::string
      run = scratch.path + "/run",
      huge =
          R"({"model":{"hidden_size":65536,"num_hidden_layers":200,"num_attention_heads":256,"num_key_value_heads":256}})";
  {
    const RunFolder held = RunFolder::open(run);
    check_refused(run, "{}", "run: another bittern is training into this folder; wait for it or choose another --out");
    CHECK_FALSE(fs::exists(run + "/config.json"));
  }
  REQUIRE(train(config(R"({"train":{"steps":2}})"), {.out = run}) == ExitCode::ok);
  for (const char* text :
       {"this run needs ", "lower train.micro_batch_sequences (now 2), set train.recompute to \"block\""}) {
    check_refused(scratch.path + "/huge", huge, text);
    check_refused([&] { print_plan(config(huge), true); }, text);
  }
  CHECK_FALSE(fs::exists(scratch.path + "/huge"));
}

TEST_CASE("training: weights of another model are refused by key") {
  const Scratch scratch("training_other");
  for (const auto& [extra, key] : std::vector<std::pair<std::string, std::string>>{
           {R"({"model":{"intermediate_size":64}})", "gate_proj"},
           {R"({"model":{"num_attention_heads":2,"num_key_value_heads":1,"head_dim":16}})", "num_attention_heads"},
           {R"({"model":{"rope_theta":500000}})", "rope_theta"},
           {R"({"model":{"rms_norm_eps":0.1}})", "rms_norm_eps"}}) {
    INFO(key);
    try {
      train(config(extra), {.out = scratch.path + "/" + key, .init = reference_run()});
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(key) != std::string::npos);
    }
  }
}

TEST_CASE("training: profiling leaves nothing behind") {
  const Scratch scratch("training_profile");
  REQUIRE(train(config(), {.out = scratch.path + "/run", .profile_steps = 1}) == ExitCode::ok);
  CHECK_FALSE(fs::exists(scratch.path + "/run"));
}

TEST_CASE("training: what is trained can be evaluated, continued in words, and exported") {
  const Scratch scratch("training_use");
  evaluate({.checkpoint = reference_run(), .data = corpus(), .max_sequences = 4});
  generate({.checkpoint = reference_run(), .prompt = "the heron", .tokens = 5});
  export_checkpoint({.checkpoint = reference_run(), .out = scratch.path + "/exported/", .dtype = "bf16"});
  for (const char* file : {"model.safetensors", "config.json", "tokenizer.model", "tokenizer_config.json"})
    CHECK(fs::exists(scratch.path + "/exported/" + file));
  evaluate({.checkpoint = scratch.path + "/exported", .data = corpus(), .max_sequences = 4});
  CHECK_THROWS_AS(export_checkpoint({.checkpoint = reference_run(), .out = scratch.path + "/exported"}), Error);
}

TEST_CASE("training: export warns that rounded activations are lost, and only where there were some") {
  const Scratch scratch("training_export_activations");
  const std::string rounded = scratch.path + "/rounded";
  REQUIRE(train(config(R"({"precision":{"activations":"int8_token"},"train":{"steps":2}})"), {.out = rounded}) ==
          ExitCode::ok);
  const auto said = [&](const std::string& checkpoint, const std::string& out) {
    std::ostringstream text;
    const std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::ostream_sink_mt>(text)));
    export_checkpoint({.checkpoint = checkpoint, .out = scratch.path + out});
    spdlog::set_default_logger(before);
    return text.str();
  };
  CHECK(said(rounded, "/a").find("trained with precision.activations int8_token") != std::string::npos);
  CHECK(said(reference_run(), "/b").find("activations") == std::string::npos);
}

TEST_CASE("training: loss that is not finite skips the step, and too many in a row stop the run with the reason") {
  const Scratch scratch("training_nan");
  const std::string run = scratch.path + "/run";
  try {
    // Each step multiplies the weights by 1 - lr * weight_decay = -99: they leave fp32's range within twenty steps.
    train(
        config(
            R"({"schedule":{"lr":100,"warmup_steps":0,"shape":"constant"},"optimizer":{"clip_grad_norm":0,"weight_decay":1},
                     "train":{"max_skipped_steps":3,"steps":60,"sample_every":0}})"),
        {.out = run});
    FAIL("went on");
  } catch (const Error& error) {
    CHECK(error.exit_code() == ExitCode::failure);
    CHECK(std::string(error.what()).find("3 steps in a row") != std::string::npos);
  }
  bool null_loss = false;
  for (const auto& line : metrics(run))
    null_loss |= line.contains("loss") && line["loss"].is_null() && line["skipped"] == true;
  CHECK(null_loss);
}

TEST_CASE("training: what the plan says is what is allocated, for training and inference") {
  RunConfig c = config();
  c.model.vocab_size = 320;
  for (const bool training : {true, false}) {
    const auto run = training ? Session::for_training(c, 10) : Session::for_inference(c, 2, 24, 10);
    run->allocate();
    CHECK(run->backend->allocated_bytes() == run->plan.arena_bytes());
    CHECK((run->plan.arena_bytes(Place::host) > 0) == training);  // the snapshot
    for (const Place place : {Place::device, Place::host}) {
      std::int64_t end = 0;
      for (const PlannedTensor& tensor : run->plan.tensors())
        if (tensor.place == place) end = std::max(end, tensor.offset + tensor.bytes());
      CHECK(end <= run->plan.arena_bytes(place));
      CHECK(run->plan.arena_bytes(place) - end < 64);
    }
  }
}
