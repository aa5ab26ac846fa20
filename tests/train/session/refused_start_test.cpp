// A run that does not get as far as training says so to whoever watches it from outside.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "bittern/error.h"
#include "bittern/file.h"
#include "catch.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;
using nlohmann::json;

namespace {

json heartbeat(const std::string& run) {
  return json::parse(read_whole_file(run + "/heartbeat.json", 1 << 20, "a heartbeat"));
}

/// Trains, which is refused, and compares what the heartbeat and the log say with the error.
json after_refusal(const RunConfig& config, const TrainOptions& options) {
  std::string message = "accepted";
  try {
    train(config, options);
  } catch (const Error& error) {
    message = error.what();
  }
  const json beat = heartbeat(options.out);
  CHECK(beat.at("status") == "failed");
  CHECK(beat.at("message") == message);
  CHECK(read_whole_file(options.out + "/log.txt", 1 << 20, "a log").find(message) != std::string::npos);
  return beat;
}

}  // namespace

TEST_CASE("refused start: the heartbeat says failed, why, and where the run stands, not starting for ever") {
  const TemporaryFolder folder("refused_start");
  const std::string run = folder / "run";
  REQUIRE(train(config(R"({"schedule":{"shape":"constant"},"train":{"steps":2}})"), {.out = run}) == ExitCode::ok);
  CHECK(heartbeat(run).at("status") == "finished");
  CHECK(after_refusal(config(R"({"run":{"seed":4},"schedule":{"shape":"constant"},"train":{"steps":4}})"), {.out = run})
            .at("step") == 0);
  CHECK(
      after_refusal(config(R"({"schedule":{"shape":"constant"},"train":{"steps":4}})"), {.out = run, .resume = "never"})
          .at("message")
          .get<std::string>()
          .find("--resume never") == 0);

  // A run's folder that cannot be written to after the weights are filled.
  const std::string blocked = folder / "blocked";
  REQUIRE(train(config(R"({"schedule":{"shape":"constant"},"train":{"steps":2}})"), {.out = blocked}) == ExitCode::ok);
  std::filesystem::create_directories(blocked + "/config.json.tmp");
  after_refusal(config(R"({"schedule":{"shape":"constant"},"train":{"steps":2}})"), {.out = blocked});

  // What the loop itself needs before its first step: metrics that can be written, from the checkpoint's step on.
  std::filesystem::remove(run + "/metrics.jsonl");
  std::filesystem::create_directories(run + "/metrics.jsonl");
  CHECK(after_refusal(config(R"({"schedule":{"shape":"constant"},"train":{"steps":4}})"), {.out = run}).at("step") ==
        2);

  // Mended, the same command goes on.
  std::filesystem::remove(run + "/metrics.jsonl");
  REQUIRE(train(config(R"({"schedule":{"shape":"constant"},"train":{"steps":4}})"), {.out = run}) == ExitCode::ok);
  CHECK(heartbeat(run).at("status") == "finished");
  CHECK(heartbeat(run).at("step") == 4);
}
