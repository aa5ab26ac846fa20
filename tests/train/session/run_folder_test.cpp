// RunFolder: a folder that is no run is refused, by what it is, and nothing in it is touched.
#include "train/session/run_folder.h"

#include <map>

#include "bittern/prepare.h"
#include "catch.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;

namespace {

void write(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << text;
}

void check_refused(const std::string& folder, const std::string& what) {
  CAPTURE(folder);
  const auto before = content(folder);
  try {
    train(config(), {.out = folder});
    FAIL("trained into it");
  } catch (const Error& error) {
    CHECK(error.exit_code() == ExitCode::bad_input);
    CHECK_THAT(error.what(), Catch::Contains("--out " + folder) && Catch::Contains(what));
  }
  CHECK(content(folder) == before);
}

}  // namespace

TEST_CASE("run folder: what is no run is refused by what it is, and stays as it was") {
  const Scratch scratch("run_folder_refused");
  export_checkpoint({.checkpoint = reference_run(), .out = scratch.path + "/model"});
  check_refused(scratch.path + "/model", "a folder of Hugging Face's");
  fs::copy(reference_run() + "/checkpoints/" + checkpoint_name(6), scratch.path + "/checkpoint",
           fs::copy_options::recursive);
  check_refused(scratch.path + "/checkpoint", "a checkpoint");
  fs::copy(corpus(), scratch.path + "/data", fs::copy_options::recursive);
  check_refused(scratch.path + "/data", "a folder of prepared data");
  write(scratch.path + "/home/letter.txt", "dear reader");
  write(scratch.path + "/home/.lock", "");
  check_refused(scratch.path + "/home", "it holds \"letter.txt\"");
  write(scratch.path + "/project/config.json", R"({"train": {"steps": 10}})");  // a person's config, not a run's
  check_refused(scratch.path + "/project", "its config.json is not one that a run has written");
  write(scratch.path + "/damaged/config.json", "{");
  check_refused(scratch.path + "/damaged", "its config.json is not one that a run has written");
  write(scratch.path + "/others/checkpoints/step_100/weights.pt", "another trainer's");
  write(scratch.path + "/others/main.py", "");
  check_refused(scratch.path + "/others", "it holds \"main.py\"");
  write(scratch.path + "/effective/config.json",
        config_json(config()));  // for example by `bittern config`, among other things
  write(scratch.path + "/effective/notes.txt", "");
  check_refused(scratch.path + "/effective", "its config.json");
}

TEST_CASE("run folder: new, empty, and a run's at any time of its life") {
  const Scratch scratch("run_folder_taken");
  const auto opens = [&](const std::string& folder) {
    CAPTURE(folder);
    CHECK_NOTHROW(RunFolder::open(folder));
  };
  opens(scratch.path + "/new/folder");
  fs::create_directories(scratch.path + "/empty");
  opens(scratch.path + "/empty");
  opens(scratch.path + "/empty");              // it holds a lock now: stopped before anything else
  write(scratch.path + "/refused/.lock", "");  // a start that was refused
  write(scratch.path + "/refused/log.txt", "x");
  write(scratch.path + "/refused/heartbeat.json", "{}");
  opens(scratch.path + "/refused");
  write(scratch.path + "/started/start.json", R"({"init": "", "resume": ""})");  // stopped before its first checkpoint
  write(scratch.path + "/started/config.json", config_json(config()));
  write(scratch.path + "/started/metrics.jsonl.tmp", "");
  opens(scratch.path + "/started");
  // A run with a person's notes in it, and a copy without hidden files.
  fs::copy(reference_run(), scratch.path + "/noted", fs::copy_options::recursive);
  fs::remove(scratch.path + "/noted/.lock");
  write(scratch.path + "/noted/notes.txt", "rate too high?");
  opens(scratch.path + "/noted");
  fs::remove(scratch.path + "/noted/start.json");  // of a program before start.json was written
  opens(scratch.path + "/noted");
  write(scratch.path + "/own/config.json",
        config_json(config()));  // the config of a run that is to be, in its own folder
  opens(scratch.path + "/own");
}
