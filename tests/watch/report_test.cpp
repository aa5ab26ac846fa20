#include "bittern/report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "bittern/error.h"
#include "bittern/file.h"
#include "catch.h"
#include "temporary_folder.h"
#include "watch/report_history.h"

using namespace bittern;
using nlohmann::json;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

std::string fresh_directory(const std::string& name) {
  static const TemporaryFolder all("report");
  const std::string path = all / name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

std::string text_of(const std::string& path) {
  return read_whole_file(path, std::int64_t{1} << 30, "report");
}

std::size_t count_of(const std::string& text, const std::string& piece) {
  std::size_t count = 0;
  for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++count;
  return count;
}

// The runs as the page's script sees them.
json data_of(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const std::size_t start = page.find(open) + open.size();
  return json::parse(page.substr(start, page.find("</script>", start) - start));
}

StepMetrics step_at(std::int64_t step) {
  StepMetrics m;
  m.step = step;
  m.tokens = 1000 * step;
  m.loss = 4 + std::sin(static_cast<double>(step * step));
  m.lr = 1e-3 / static_cast<double>(step);
  m.grad_norm = 0.5;
  m.tokens_per_second = 2000;
  m.seconds = 0.5 * static_cast<double>(step);
  return m;
}

std::string make_run(const std::string& name, std::int64_t steps) {
  const std::string run = fresh_directory(name);
  MetricsWriter writer(run, {name, 5000}, 0);
  for (std::int64_t step = 1; step <= steps; ++step) {
    writer.step(step_at(step));
    if (step % 10 == 0) writer.evaluation({.step = step, .valid_loss = 4.5 - 0.01 * static_cast<double>(step % 40)});
  }
  return run;
}

}  // namespace

TEST_CASE("curve: nothing is lost until there are more points than it may keep") {
  Curve curve(2000);
  for (int i = 0; i < 1998; ++i) curve.add(i, std::sin(i * i));
  const auto points = curve.points();
  REQUIRE(points.size() == 1998);
  for (int i = 0; i < 1998; ++i) {
    REQUIRE(points[static_cast<std::size_t>(i)].x == i);
    REQUIRE(points[static_cast<std::size_t>(i)].y == std::sin(i * i));
  }
  CHECK(curve.exact());
}

TEST_CASE("curve: bounded, with every extreme, the first and the last point, for any length") {
  for (const int bound : {10, 101, 500, 2000})
    for (const int length : {1, 2, 3, 9, 1999, 2000, 2001, 4097, 100003}) {
      Curve curve(bound);
      double least = 1e300, greatest = -1e300;
      for (int i = 0; i < length; ++i) {
        double y = std::sin(i * 0.7) + (i == length / 3 ? 50 : 0) - (i == length / 2 ? 70 : 0);
        least = std::min(least, y);
        greatest = std::max(greatest, y);
        curve.add(i, y);
      }
      const auto points = curve.points();
      REQUIRE(static_cast<int>(points.size()) <= bound);
      CHECK(points.front().x == 0);
      CHECK(points.back().x == length - 1);
      const auto lower = [](const CurvePoint& a, const CurvePoint& b) { return a.y < b.y; };
      CHECK(std::min_element(points.begin(), points.end(), lower)->y == least);
      CHECK(std::max_element(points.begin(), points.end(), lower)->y == greatest);
      CHECK(std::is_sorted(points.begin(), points.end(),
                           [](const CurvePoint& a, const CurvePoint& b) { return a.x < b.x; }));
    }
}

TEST_CASE("curve: the means are means of all points, not of the extremes") {
  Curve curve(100);
  for (int i = 0; i < 1024; ++i) curve.add(i, i % 16 == 0 ? 16.0 : 0.0);  // mean 1, midrange 8
  REQUIRE(!curve.exact());
  for (const CurvePoint& mean : curve.means()) CHECK(mean.y == 1.0);
}

TEST_CASE("curve: what is not finite is no point") {
  Curve curve(100);
  curve.add(1, not_a_number);
  curve.add(2, std::numeric_limits<double>::infinity());
  CHECK(curve.empty());
  CHECK(curve.points().empty());
  curve.add(3, 1);
  CHECK(curve.points().size() == 1);
}

TEST_CASE("report: the numbers at the end of a run") {
  RunHistory history("folder");
  history.add(RunInfo{"mini", 5000});
  for (int step = 1; step <= 300; ++step) {
    StepMetrics m = step_at(step);
    m.loss = step;
    if (step == 250) {
      m.loss = not_a_number;
      m.skipped = true;
    }
    m.skipped_steps = step >= 250 ? 1 : 0;
    history.add(m);
  }
  for (const double loss : {3.0, 2.5, not_a_number, 2.75})
    history.add(EvalMetrics{.step = static_cast<std::int64_t>(loss * 100), .valid_loss = loss});
  const RunSummary s = history.summary();
  CHECK(s.name == "mini");
  CHECK(s.steps == 300);
  CHECK(s.tokens == 300000);
  CHECK(s.loss == 300);
  CHECK(std::abs(s.loss_recent - (25050.0 - 250) / 99) < 1e-9);  // steps 201..300 without 250
  CHECK(s.valid_loss == 2.75);
  CHECK(s.best_valid_loss == 2.5);
  CHECK(s.best_valid_step == 250);
  CHECK(s.tokens_per_second == 2000);
  CHECK(s.seconds == 150);
  CHECK(s.skipped_steps == 1);
  CHECK(json::parse(history.page_json()).at("skipped") == json{250});
}

TEST_CASE("report: the page's curves are those of metrics.jsonl, by name, every point of them") {
  const std::string run = make_run("curves", 40);
  Report({run}).write(run + "/report.html");
  const json curves = data_of(text_of(run + "/report.html")).at("runs").at(0).at("curves");
  const auto check_curve = [&](const char* name, std::int64_t every, auto value) {
    INFO(name);
    const json& curve = curves.at(name);
    REQUIRE(curve.at("x").size() == static_cast<std::size_t>(40 / every));
    REQUIRE(curve.at("y").size() == curve.at("x").size());
    for (std::size_t i = 0; i < curve.at("x").size(); ++i) {
      const std::int64_t step = every * (static_cast<std::int64_t>(i) + 1);
      CHECK(curve.at("x").at(i) == step);
      CHECK(curve.at("y").at(i).get<double>() == Approx(value(step)).epsilon(1e-5));
    }
  };
  check_curve("loss", 1, [](std::int64_t step) { return step_at(step).loss; });
  check_curve("lr", 1, [](std::int64_t step) { return step_at(step).lr; });
  check_curve("grad_norm", 1, [](std::int64_t step) { return step_at(step).grad_norm; });
  check_curve("tokens_per_second", 1, [](std::int64_t step) { return step_at(step).tokens_per_second; });
  check_curve("valid_loss", 10, [](std::int64_t step) { return 4.5 - 0.01 * static_cast<double>(step % 40); });
}

TEST_CASE("report: a run without an evaluation, or without a step, has a page and a table") {
  const std::string run = fresh_directory("empty");
  std::ofstream(run + "/metrics.jsonl").flush();
  const Report report({run});
  report.write(run + "/report.html");
  const json data = data_of(text_of(run + "/report.html"));
  CHECK(data.at("runs").at(0).at("summary").at("loss").is_null());
  CHECK(data.at("runs").at(0).at("summary").at("name") == "empty");
  CHECK(report.table().find("empty      0") != std::string::npos);
}

TEST_CASE("report: torn, foreign and hostile lines are passed over, counted and said") {
  const std::string run = make_run("torn", 30);
  std::ofstream(run + "/metrics.jsonl", std::ios::app)
      << "# a comment\n\n{\"step\":31,\"loss\":}\n[1,2]\n"
      << std::string(100000, '[') << "\n"
      << std::string(50000, '[') + std::string(50000, ']') +
             "\n\xff\xfe\n{\"step\":32,\"loss\":1.0,\"lr\":1e999}\n{\"step\":33,\"lo";
  const Report report({run});
  report.write(run + "/report.html");
  const json summary = data_of(text_of(run + "/report.html")).at("runs").at(0).at("summary");
  CHECK(summary.at("bad_lines") == 8);
  CHECK(summary.at("steps") == 30);
  CHECK(report.table().find("torn: 8 lines of metrics.jsonl could not be read and were left out\n") !=
        std::string::npos);
}

TEST_CASE("report: names, samples and settings are data, never markup") {
  const std::string evil =
      "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> & \" ' \xff \x1b[2J \xe2\x80\xa8";
  const std::string run = fresh_directory("hostile");
  {
    MetricsWriter writer(run, {evil, 1}, 0);
    writer.step(step_at(1));
    writer.sample({1, evil});
  }
  std::ofstream(run + "/config.json") << json{{"model", {{"<b>key</b></script>", "<i>value</i></script>"}}}}.dump();
  std::ofstream(run + "/heartbeat.json") << json{{"status", "</script><script>"}}.dump();
  const Report report({run});
  report.write(run + "/report.html");
  const std::string page = text_of(run + "/report.html");
  CHECK(count_of(page, "<script") == 2);
  CHECK(count_of(page, "</script") == 2);
  CHECK(count_of(page, "<!--") == 0);
  CHECK(count_of(page, "<img") == 0);
  CHECK(count_of(page, "\x1b") == 0);
  CHECK(page.find("<title>&lt;/script&gt;") != std::string::npos);
  // And yet it says what it was given.
  const json data = data_of(page).at("runs").at(0);
  const std::string start = evil.substr(0, evil.find('\xff'));
  CHECK(data.at("samples").at(0).at("text").get<std::string>().starts_with(start));
  CHECK(data.at("config").at(0) == json{"model.<b>key</b></script>", "<i>value</i></script>"});
  CHECK(data.at("summary").at("status") == "</script><script>");
  CHECK(report.table().find('\x1b') == std::string::npos);
  CHECK(json::parse(report.json()).at(0).at("name").get<std::string>().starts_with(start));
}

TEST_CASE("report: a hostile config leaves the report without it") {
  for (const std::string& config : {std::string("{"), std::string("[]"), std::string("\xff"),
                                    "{\"a\":" + std::string(200000, '[') + std::string(200000, ']') + "}",
                                    [] {
                                      std::string nested;
                                      for (int i = 0; i < 100000; ++i) nested += "{\"\":";
                                      return nested + "1" + std::string(100000, '}');
                                    }(),
                                    std::string(R"({"train":{"steps":"many"}})"), std::string(R"({"train":[]})")}) {
    RunHistory history("x");
    history.set_config(config);
    CHECK(json::parse(history.page_json()).at("summary").at("total_steps") == 0);
  }
}

TEST_CASE("report: a forked run says what it was forked from; a hostile fork.json is left out") {
  RunHistory history("x");
  history.set_fork(R"({"checkpoint":"a/</script>","step":7,"changed":["schedule.lr: 1 -> 2","run.seed: 1 -> 3"]})");
  CHECK(history.fork() == "forked from a/</script> at step 7; changed: schedule.lr: 1 -> 2, run.seed: 1 -> 3");
  CHECK(data_of(report_page({history.page_json()}, "t", false)).at("runs").at(0).at("fork") == history.fork());
  history.set_fork(R"({"checkpoint":"a","step":7,"changed":[]})");
  CHECK(history.fork() == "forked from a at step 7; changed: nothing");
  for (const std::string& damaged :
       {std::string("{"), std::string("[]"), std::string(R"({"checkpoint":1,"step":7,"changed":[]})"),
        std::string(R"({"checkpoint":"a","step":"7","changed":[]})"), std::string(R"({"checkpoint":"a","step":7})"),
        std::string(R"({"checkpoint":"a","step":7,"changed":)") + std::string(100000, '[') + std::string(100000, ']') +
            "}"}) {
    history.set_fork(damaged);
    CHECK(history.fork().empty());
  }
}

TEST_CASE("report: the page needs nothing from outside and stays small, however long the run") {
  RunHistory history("long");
  for (int step = 1; step <= 300000; ++step) history.add(step_at(step));
  for (int i = 0; i < 200; ++i) history.add(Sample{i, std::string(100000, 'x')});
  const std::string run = history.page_json();
  CHECK(run.size() < 600000);
  const std::string frame = report_page({}, "t", false);
  CHECK(frame.size() < 100000);
  const std::string page = report_page({run}, "long", false);
  CHECK(count_of(page, "http") ==
        count_of(page, "http-equiv") + 1);  // the name of SVG's namespace, which is not fetched
  CHECK(count_of(page, "http://www.w3.org/2000/svg") == 1);
  for (const char* outside : {" src=", " href=", "@import", "url(//", "fetch(", "XMLHttpRequest", "innerHTML", "eval("})
    CHECK(count_of(page, outside) == 0);
  const json data = data_of(page).at("runs").at(0);
  for (const auto& [name, curve] : data.at("curves").items()) {
    CHECK(curve.at("x").size() <= 2000);
    CHECK(curve.at("x").size() == curve.at("y").size());
  }
  CHECK(data.at("curves").at("loss").at("mean_x").size() == data.at("curves").at("loss").at("mean_y").size());
  CHECK(data.at("curves").at("loss").at("x").back() == 300000);
  CHECK(data.at("samples").size() <= 40);
  CHECK(data.at("samples").back().at("step") == 199);
}

TEST_CASE("report: kept up to date while training, it equals the one made from the file") {
  const std::string run = fresh_directory("live");
  const std::string config = R"({"train":{"steps":200}})";
  std::ofstream(run + "/config.json") << config;
  const auto train = [&](std::int64_t from, std::int64_t to) {
    MetricsWriter writer(run, {"live", 5}, from - 1);
    LiveReport report(run, config);
    for (std::int64_t step = from; step <= to; ++step) {
      StepMetrics m = step_at(step);
      if (step == 70) m.loss = not_a_number;
      writer.step(m);
      report.add(m);
      report.update(RunStatus::training);
      if (step % 50 != 0) continue;
      const EvalMetrics evaluation{.step = step, .valid_loss = 3};
      writer.evaluation(evaluation);
      report.add(evaluation);
      writer.sample({step, "text"});
      report.add(Sample{step, "text"});
    }
    CHECK(data_of(text_of(run + "/report.html")).at("live") == true);
    report.finish(RunStatus::finished);
  };
  train(1, 120);
  train(101, 200);  // resumed from step 100
  Heartbeat(run).beat(200, RunStatus::finished);
  const json live = data_of(text_of(run + "/report.html"));
  Report({run}).write(run + "/again.html");
  const json again = data_of(text_of(run + "/again.html"));
  CHECK(live.at("runs") == again.at("runs"));
  CHECK(live.at("live") == false);
  CHECK(live.at("runs").at(0).at("curves").at("loss").at("x").size() == 199);
  CHECK(live.at("runs").at(0).at("summary").at("total_steps") == 200);
}

TEST_CASE("report: keeping it up to date costs a few milliseconds") {
  const std::string run = fresh_directory("cost");
  LiveReport report(run, "{}");
  for (int step = 1; step <= 20000; ++step) report.add(step_at(step));
  const double start = steady_seconds();
  for (int i = 0; i < 10; ++i) report.finish(RunStatus::training);
  CHECK((steady_seconds() - start) / 10 < 0.25);  // about 0.005 s unless the machine is very busy or sanitized
}

TEST_CASE("report: a report that cannot be written does not stop the run") {
  LiveReport report("/proc/none", "{}");
  report.add(step_at(1));
  report.update(RunStatus::training);
  report.finish(RunStatus::failed);
}

TEST_CASE("report: a path that cannot even be looked at is a sentence, or left out") {
  const std::string run = fresh_directory("loop");
  std::filesystem::create_symlink("metrics.jsonl", run + "/metrics.jsonl");
  CHECK_THROWS_AS(LiveReport(run, "{}"), Error);
  CHECK_THROWS_AS(Report({run}), Error);
  std::filesystem::remove(run + "/metrics.jsonl");
  write_file_atomically(run + "/metrics.jsonl", "{\"step\":1,\"loss\":2}\n");
  std::filesystem::create_symlink("config.json", run + "/config.json");
  CHECK(Report({run}).table().find("loop") != std::string::npos);
}

TEST_CASE("report: several runs have one table, one page, and names that differ") {
  const std::string a = make_run("several_a", 40), b = make_run("several_b", 20);
  const Report report({a, b + "/metrics.jsonl"});
  CHECK(report.table() ==
        "run        steps  tokens  last loss  mean of 100  best valid  at step  tok/s  time  skipped\n"
        "several_a     40   40.0k     3.1988       " +
            fmt::format("{:.4f}", json::parse(report.json()).at(0).at("loss_recent").get<double>()) +
            "      4.2000       30  2.00k   20s        0\n"
            "several_b     20   20.0k     3.1491       " +
            fmt::format("{:.4f}", json::parse(report.json()).at(1).at("loss_recent").get<double>()) +
            "      4.3000       20  2.00k   10s        0\n");
  report.write(a + "/both.html");
  CHECK(data_of(text_of(a + "/both.html")).at("runs").size() == 2);
  const json twice = json::parse(Report({a, a}).json());
  CHECK(twice.at(0).at("name") == "several_a (" + a + ")");
}

TEST_CASE("report: a run that is missing is named") {
  const auto message_of = [](const std::vector<std::string>& runs) -> std::string {
    try {
      Report report(runs);
    } catch (const Error& error) {
      CHECK(error.exit_code() == ExitCode::bad_input);
      return error.what();
    }
    return "";
  };
  CHECK(message_of({"/no/such/run"}).find("/no/such/run") != std::string::npos);
  const std::string empty = fresh_directory("no_metrics");
  CHECK(message_of({empty}) ==
        empty + ": there is no metrics.jsonl in it; expected a run's folder, or a metrics.jsonl");
  CHECK(message_of({}).find("no run was given") != std::string::npos);
}
