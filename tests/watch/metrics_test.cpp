#include "bittern/metrics.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "bittern/error.h"
#include "bittern/file.h"
#include "catch.h"
#include "store/storage_support.h"
#include "temporary_folder.h"

using namespace bittern;
using namespace bittern::storage_test;
using nlohmann::json;

namespace {

std::string fresh_run(const std::string& name) {
  static const TemporaryFolder all("metrics");
  const std::string path = all / name;
  std::filesystem::remove_all(path);
  return path;
}

std::string text_of(const std::string& run) {
  return read_whole_file(run + "/metrics.jsonl", 1 << 24, "metrics");
}

StepMetrics step_at(std::int64_t step) {
  StepMetrics m;
  m.step = step;
  m.tokens = 2048 * step;
  m.loss = 8.0 / static_cast<double>(step);
  m.lr = 1e-3;
  m.grad_norm = 0.5;
  return m;
}

// Steps [from, to] of a run that evaluates and samples every fifth step.
void run_steps(MetricsWriter& writer, std::int64_t from, std::int64_t to) {
  for (std::int64_t step = from; step <= to; ++step) {
    writer.step(step_at(step));
    if (step % 5 == 0) {
      writer.evaluation({.step = step, .tokens = 2048 * step, .valid_loss = 3.5, .valid_tokens = 4096});
      writer.sample({step, "it \"was\"\na\tday"});
    }
  }
}

const RunInfo mini{"mini", 1234};

}  // namespace

TEST_CASE("metrics: every kind of line reads back as it was written") {
  StepMetrics step = step_at(7);
  step.loss = 0.1 + 0.2;  // needs all 17 digits
  step.z_loss = 1e-300;
  step.skipped = true;
  step.skipped_steps = 3;
  step.clip_scale = 0.25;
  step.peak_rss = std::int64_t{5} << 40;
  const auto read = parse_metrics_line(format_metrics_line(step));
  REQUIRE(read.has_value());
  const auto& back = std::get<StepMetrics>(*read);
  CHECK(back.loss == step.loss);
  CHECK(back.z_loss == step.z_loss);
  CHECK(back.skipped);
  CHECK(back.skipped_steps == 3);
  CHECK(back.clip_scale == 0.25);
  CHECK(back.peak_rss == step.peak_rss);
  CHECK(std::get<EvalMetrics>(*parse_metrics_line(format_metrics_line(EvalMetrics{.step = 5, .valid_loss = 2.5})))
            .valid_loss == 2.5);
  CHECK(std::get<Sample>(*parse_metrics_line(format_metrics_line(Sample{5, "a\n\"b\""}))).text == "a\n\"b\"");
  CHECK(std::get<RunInfo>(*parse_metrics_line(format_metrics_line(mini))).parameters == 1234);
}

TEST_CASE("metrics: statistics of a step are an object by role; what a role has not is missing") {
  const StatisticsMetrics statistics{.step = 100,
                                     .tokens = 204800,
                                     .roles = {{.role = "norm",
                                                .relative_error = {},
                                                .error_ratio = {},
                                                .error_cosine = {},
                                                .changed = {},
                                                .expected_changed = {},
                                                .saturated = {},
                                                .m_absmax = 0.5,
                                                .v_max = {},
                                                .m_relative_error = {},
                                                .v_zeroed = {}},
                                               {.role = "mlp_linear",
                                                .relative_error = 0.1 + 0.2,
                                                .error_ratio = 1.01,
                                                .error_cosine = -0.5,
                                                .changed = 0.063,
                                                .expected_changed = 0.0625,
                                                .saturated = 0.0,
                                                .m_absmax = std::numeric_limits<double>::infinity(),
                                                .v_max = 1e-12,
                                                .m_relative_error = 0.25,
                                                .v_zeroed = 0.125}}};
  const std::string line = format_metrics_line(statistics);
  CHECK(
      line ==
      R"({"step":100,"tokens":204800,"statistics":{"norm":{"m_absmax":0.5},"mlp_linear":{)"
      R"("relative_error":0.30000000000000004,"error_ratio":1.01,"error_cosine":-0.5,"changed":0.063,"expected_changed":0.0625,)"
      R"("saturated":0,)"
      R"("m_absmax":null,"m_absmax_nonfinite":true,"v_max":1e-12,"m_relative_error":0.25,"v_zeroed":0.125}}})");
  const auto back = std::get<StatisticsMetrics>(*parse_metrics_line(line));
  CHECK(back.step == 100);
  REQUIRE(back.roles.size() == 2);
  CHECK(back.roles[0].role == "mlp_linear");  // objects are read in the order of names
  CHECK(back.roles[0].relative_error == 0.1 + 0.2);
  CHECK(std::isnan(back.roles[0].m_absmax.value()));
  CHECK_FALSE(back.roles[1].changed.has_value());
}

TEST_CASE("metrics: thousands of damaged lines are read or passed over") {
  const std::string lines[] = {
      format_metrics_line(step_at(3)),
      R"({"step":100,"tokens":204800,"statistics":{"mlp_linear":{"changed":0.06,"m_absmax":null,"m_absmax_nonfinite":true}}})",
      R"({"step":4,"tokens":64,"valid_loss":5.5,"valid_tokens":100,"evaluate_ms":3.5,"seconds":1.25})",
      R"({"step":6,"sample":"the heron\u00e9"})", R"({"step":0,"run":"tiny","parameters":1000})"};
  Random random(1);
  int read = 0, passed_over = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::string& good = lines[static_cast<std::size_t>(i) % std::size(lines)];
    REQUIRE(parse_metrics_line(good));
    const std::string bad = damaged(good, good.size(), random);
    CAPTURE(bad);
    std::optional<MetricsLine> line;
    CHECK_NOTHROW(line = parse_metrics_line(bad));
    if (line) CHECK_NOTHROW(std::visit([](const auto& of) { (void)format_metrics_line(of); }, *line));
    (line ? read : passed_over) += 1;
  }
  CHECK(read > 500);
  CHECK(passed_over > 500);
}

TEST_CASE("metrics: a number that is not finite is valid JSON with a flag") {
  StepMetrics m = step_at(1);
  m.loss = std::numeric_limits<double>::quiet_NaN();
  m.grad_norm = -std::numeric_limits<double>::infinity();
  const json line = json::parse(format_metrics_line(m));
  CHECK(line.at("loss").is_null());
  CHECK(line.at("loss_nonfinite") == true);
  CHECK(line.at("grad_norm").is_null());
  CHECK(line.at("grad_norm_nonfinite") == true);
  CHECK(!line.contains("lr_nonfinite"));
  CHECK(std::isnan(std::get<StepMetrics>(*parse_metrics_line(line.dump())).loss));
}

TEST_CASE("metrics: a sample that is not UTF-8 is still a valid line") {
  const std::string line = format_metrics_line(Sample{1, std::string("\xff\xc3 ok \x1b[2J \0 end", 16)});
  CHECK(json::parse(line).at("sample").is_string());
  CHECK(line.find('\n') == std::string::npos);
}

TEST_CASE("metrics: lines that are torn, foreign or of the wrong types are no metrics") {
  for (const char* text : {"", "{", "null", "[]", "3", "{\"step\":1", "{\"step\":1}", "{\"step\":-1,\"loss\":1}",
                           "{\"step\":\"1\",\"loss\":1}", "{\"loss\":1}", "{\"step\":1e3,\"loss\":1}", "\xff\xfe",
                           "{\"step\":18446744073709551615,\"loss\":1}"})
    CHECK(!parse_metrics_line(text).has_value());
  const auto odd = parse_metrics_line(R"({"step":1,"loss":"high","tokens":[1],"new_key":{}})");
  REQUIRE(odd.has_value());
  CHECK(std::isnan(std::get<StepMetrics>(*odd).loss));
  CHECK(!parse_metrics_line(std::string(100000, '[')).has_value());
}

TEST_CASE("metrics: the file starts with the run and has one object a line, in order") {
  const std::string run = fresh_run("order");
  MetricsWriter writer(run, mini, 0);
  run_steps(writer, 1, 10);
  std::ifstream file(run + "/metrics.jsonl");
  std::string line;
  std::getline(file, line);
  CHECK(json::parse(line) == json{{"step", 0}, {"run", "mini"}, {"parameters", 1234}});
  std::int64_t last = 0;
  int lines = 0;
  for (; std::getline(file, line); ++lines) {
    const std::int64_t step = json::parse(line).at("step");
    CHECK(step >= last);
    last = step;
  }
  CHECK(lines == 14);
}

TEST_CASE("metrics: interrupted anywhere and resumed from a checkpoint, the file equals an undisturbed run's") {
  const std::string whole = fresh_run("whole");
  {
    MetricsWriter writer(whole, mini, 0);
    run_steps(writer, 1, 20);
  }
  const std::string expected = text_of(whole);
  const std::string run = fresh_run("resumed");
  for (const std::int64_t checkpoint : {0, 1, 5, 12, 20})
    for (std::size_t killed_at = 1; killed_at <= expected.size(); killed_at += 97) {
      // What a kill leaves behind is a prefix; it holds at least the lines up to the checkpoint.
      std::filesystem::remove_all(run);
      std::filesystem::create_directories(run);
      const auto end_of_step = expected.find("{\"step\":" + std::to_string(checkpoint + 1) + ",");
      const std::size_t durable = end_of_step == std::string::npos ? expected.size() : end_of_step;
      std::ofstream(run + "/metrics.jsonl") << expected.substr(0, std::max(killed_at, checkpoint > 0 ? durable : 0));
      MetricsWriter writer(run, mini, checkpoint);
      run_steps(writer, checkpoint + 1, 20);
      REQUIRE(text_of(run) == expected);
    }
}

TEST_CASE("metrics: resuming twice in a row loses nothing") {
  const std::string run = fresh_run("twice");
  {
    MetricsWriter writer(run, mini, 0);
    run_steps(writer, 1, 6);
  }
  const std::string before = text_of(run);
  { MetricsWriter writer(run, mini, 6); }
  { MetricsWriter writer(run, mini, 6); }
  CHECK(text_of(run) == before);
}

TEST_CASE("metrics: a last line that lacks only its newline is kept") {
  const std::string run = fresh_run("newline");
  {
    MetricsWriter writer(run, mini, 0);
    run_steps(writer, 1, 3);
  }
  const std::string before = text_of(run);
  std::filesystem::resize_file(run + "/metrics.jsonl", before.size() - 1);
  { MetricsWriter writer(run, mini, 3); }
  CHECK(text_of(run) == before);
}

TEST_CASE("metrics: a file out of order keeps every line of an earlier step, and foreign lines too") {
  const std::string run = fresh_run("unordered");
  std::filesystem::create_directories(run);
  std::ofstream(run + "/metrics.jsonl") << "{\"step\":1,\"loss\":2}\n{\"step\":9,\"loss\":2}\n# by hand\n"
                                           "{\"loss\":1,\"step\":2,\"seconds\":12.5}\n{\"loss\":1,\"step\":8}\n";
  MetricsWriter writer(run, mini, 2);
  CHECK(text_of(run) == "{\"step\":1,\"loss\":2}\n# by hand\n{\"loss\":1,\"step\":2,\"seconds\":12.5}\n");
  CHECK(writer.resumed_seconds() == 12.5);
}

TEST_CASE("metrics: a resumed run knows the best validation loss of the lines that it keeps") {
  const std::string run = fresh_run("best");
  {
    MetricsWriter writer(run, mini, 0);
    CHECK(writer.resumed_best_valid_loss() == 0);
    const double losses[] = {3.5, std::numeric_limits<double>::quiet_NaN(), 3.25, 3.75, 3.0};
    for (std::int64_t step = 1; step <= 5; ++step) writer.evaluation({.step = step, .valid_loss = losses[step - 1]});
  }
  CHECK(MetricsWriter(run, mini, 4).resumed_best_valid_loss() == 3.25);  // 3.0 came after the checkpoint
}

TEST_CASE("metrics: a folder that cannot be written is refused with its name") {
  CHECK_THROWS_AS(MetricsWriter("/proc/no_such_run", mini, 0), Error);
  // A full disk: every write to this device fails with ENOSPC.
  const std::string run = fresh_run("full");
  std::filesystem::create_directories(run);
  std::filesystem::create_symlink("/dev/full", run + "/metrics.jsonl");
  CHECK_THROWS_AS(MetricsWriter(run, mini, 0), Error);
  // A path that cannot even be looked at.
  std::filesystem::remove(run + "/metrics.jsonl");
  std::filesystem::create_symlink("metrics.jsonl", run + "/metrics.jsonl");
  CHECK_THROWS_AS(MetricsWriter(run, mini, 0), Error);
}
