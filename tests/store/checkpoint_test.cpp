// Checkpoints: whole or not at all, whatever happens; damage is found and the one before is used.
#include "bittern/checkpoint.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "bittern/strict_json.h"
#include "catch.h"
#include "store/storage_support.h"

namespace fs = std::filesystem;
using namespace bittern;
using namespace bittern::storage_test;

namespace {

// A checkpoint whose every byte follows from the step.
struct Sample {
  std::vector<OwnedTensor> model, optimizer;
  CheckpointContents contents;

  explicit Sample(std::int64_t step, std::int64_t rows = 3) {
    const auto seed = static_cast<std::uint32_t>(step);
    model = {random_tensor("w", "F32", {rows, 16}, seed), random_tensor("b", "BF16", {5}, seed + 1000)};
    optimizer = {random_tensor("w.m", "F32", {rows, 16}, seed + 2000),
                 random_tensor("w.v", "F32", {rows, 16}, seed + 3000)};
    contents = {.step = step,
                .model = views(model),
                .optimizer = views(optimizer),
                .hf_config_json = "{\"model_type\":\"llama\"}",
                .trainer_json = "{\"step\":" + std::to_string(step) + "}",
                .tokenizer = "tokenizer bytes",
                .small_files = {}};
  }
};

std::vector<std::byte> read_all(const SafetensorsFile& file, const std::string& name) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.find(name) ? file.find(name)->bytes : 0));
  file.read(name, bytes);
  return bytes;
}

// True when the checkpoint holds what Sample(step) wrote.
bool holds_sample(const Checkpoint& checkpoint, std::int64_t step, std::int64_t rows = 3) {
  const Sample sample(step, rows);
  bool same = checkpoint.step == step && checkpoint.hf_config_json == sample.contents.hf_config_json &&
              checkpoint.trainer_json == sample.contents.trainer_json &&
              checkpoint.tokenizer == sample.contents.tokenizer;
  for (const OwnedTensor& tensor : sample.model) same = same && read_all(checkpoint.model, tensor.name) == tensor.bytes;
  for (const OwnedTensor& tensor : sample.optimizer)
    same = same && read_all(checkpoint.optimizer, tensor.name) == tensor.bytes;
  return same;
}

std::string checkpoint_path(const TemporaryFolder& run, std::int64_t step) {
  return run / ("checkpoints/" + checkpoint_name(step));
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& item : fs::directory_iterator(directory)) names.push_back(item.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("checkpoint: what is written is loaded, and nothing else lies in the folder") {
  TemporaryFolder run;
  Sample sample(1000);
  sample.contents.small_files = {{"tokenizer_config.json", "{}"}};
  const std::string directory = write_checkpoint(run.path, sample.contents);
  CHECK(directory == run / "checkpoints/step_00001000");
  CHECK(names_in(run / "checkpoints") == std::vector<std::string>{"step_00001000"});
  CHECK(names_in(directory) == std::vector<std::string>{"config.json", "manifest.json", "model.safetensors",
                                                        "optimizer.safetensors", "tokenizer.model",
                                                        "tokenizer_config.json", "trainer.json"});
  CHECK(holds_sample(load_checkpoint(directory), 1000));
  const LatestCheckpoint latest = find_latest(run.path);
  CHECK(latest.directory == directory);
  CHECK(latest.step == 1000);
  CHECK(latest.warning.empty());
}

TEST_CASE("checkpoint: the latest is found and opened with one look at every byte") {
  TemporaryFolder run;
  constexpr std::int64_t rows = 20000;
  const std::string directory = write_checkpoint(run.path, Sample(1, rows).contents);
  std::int64_t size = 0;
  for (const auto& item : fs::directory_iterator(directory)) size += static_cast<std::int64_t>(item.file_size());
  const auto bytes_read = [] {
    std::ifstream io("/proc/self/io");
    std::string key;
    std::int64_t value = 0;
    io >> key >> value;  // rchar: of all read calls
    return value;
  };
  const std::int64_t before = bytes_read();
  const Checkpoint checkpoint = open_latest(find_latest(run.path));
  CHECK(bytes_read() - before < size + size / 8);
  CHECK(holds_sample(checkpoint, 1, rows));
}

TEST_CASE("checkpoint: a run without a tokenizer has none") {
  TemporaryFolder run;
  Sample sample(1);
  sample.contents.tokenizer.clear();
  const Checkpoint checkpoint = load_checkpoint(write_checkpoint(run.path, sample.contents));
  CHECK(checkpoint.tokenizer.empty());
  CHECK(!fs::exists(checkpoint.directory + "/tokenizer.model"));
}

TEST_CASE("checkpoint: a run that has none, or no folder, has no latest") {
  TemporaryFolder run;
  CHECK(find_latest(run.path).directory.empty());
  CHECK(find_latest(run / "none").directory.empty());
  fs::create_directory(run / "checkpoints");
  const LatestCheckpoint latest = find_latest(run.path);
  CHECK(latest.directory.empty());
  CHECK(latest.step == -1);
  CHECK(latest.warning.empty());
}

TEST_CASE("checkpoint: the names of folders") {
  CHECK(checkpoint_name(7) == "step_00000007");
  CHECK(checkpoint_name(1234567890) == "step_1234567890");
  CHECK(checkpoint_step("step_00000007") == 7);
  CHECK(checkpoint_step("step_7") == 7);
  CHECK(checkpoint_step("step_9223372036854775807") == 9223372036854775807);
  for (const char* name :
       {"step_", "step_-1", "step_+1", "step_1x", "step_ 1", "step_00000007.tmp", "step_1.0", "STEP_1", "xstep_1",
        "step_9223372036854775808", "step_99999999999999999999999999", "", "best", "step"})
    CHECK(!checkpoint_step(name));
}

TEST_CASE("checkpoint: stray files and folders are not checkpoints") {
  TemporaryFolder run;
  const std::string good = write_checkpoint(run.path, Sample(5).contents);
  fs::create_directory(run / "checkpoints/best");
  fs::create_directory(run / "checkpoints/step_abc");
  fs::create_directory(run / "checkpoints/step_99999999999999999999");
  fs::create_directory(run / "checkpoints/step_00000009.tmp");
  write_bytes(run / "checkpoints/step_00000010", "a file");
  write_bytes(run / "checkpoints/.DS_Store", "");
  const LatestCheckpoint latest = find_latest(run.path);
  CHECK(latest.directory == good);
  CHECK(latest.warning.empty());
  prune_checkpoints(run.path, 1);
  CHECK(names_in(run / "checkpoints").size() == 7);
}

TEST_CASE("checkpoint: every file truncated, flipped, emptied or removed is found, and the one before is used") {
  TemporaryFolder run;
  const std::string older = write_checkpoint(run.path, Sample(1).contents);
  const std::string newer = write_checkpoint(run.path, Sample(2).contents);
  for (const std::string& name : names_in(newer)) {
    const std::string path = newer + "/" + name, bytes = read_bytes(path);
    for (const char* damage : {"truncated", "longer", "flipped", "emptied", "removed", "a folder"}) {
      INFO(name << " " << damage);
      std::string bad = bytes;
      if (damage == std::string("truncated")) bad.pop_back();
      if (damage == std::string("longer")) bad.push_back(' ');
      if (damage == std::string("flipped")) bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 0x20);
      if (damage == std::string("emptied")) bad.clear();
      write_bytes(path, bad);
      if (damage == std::string("removed") || damage == std::string("a folder")) fs::remove(path);
      if (damage == std::string("a folder")) fs::create_directory(path);

      // White space at the end of the manifest changes nothing that it says.
      const bool harmless =
          name == "manifest.json" && (damage == std::string("longer") || damage == std::string("truncated"));
      const LatestCheckpoint latest = find_latest(run.path);
      CHECK(latest.directory == (harmless ? newer : older));
      INFO(latest.warning);
      CHECK(contains(latest.warning, name) != harmless);
      CHECK(contains(latest.warning, "checkpoint step_00000002 cannot be used: ") != harmless);
      CHECK((error_of([&] { load_checkpoint(newer); }).code == ExitCode::bad_input) != harmless);
      fs::remove_all(path);
      write_bytes(path, bytes);
    }
  }
  CHECK(find_latest(run.path).directory == newer);
}

TEST_CASE("checkpoint: when none can be used, the warning says why for each") {
  TemporaryFolder run;
  for (const std::int64_t step : {1, 2}) write_checkpoint(run.path, Sample(step).contents);
  fs::remove(checkpoint_path(run, 1) + "/manifest.json");
  fs::resize_file(checkpoint_path(run, 2) + "/model.safetensors", 10);
  const LatestCheckpoint latest = find_latest(run.path);
  CHECK(latest.directory.empty());
  CHECK(contains(latest.warning, "checkpoint step_00000002 cannot be used: "));
  CHECK(contains(latest.warning, "model.safetensors: has 10 bytes; expected"));
  CHECK(contains(latest.warning, "\ncheckpoint step_00000001 cannot be used: "));
  CHECK(contains(latest.warning, "manifest.json: cannot open"));
}

TEST_CASE("checkpoint: a folder that was renamed to another step is not that step") {
  TemporaryFolder run;
  write_checkpoint(run.path, Sample(3).contents);
  fs::rename(checkpoint_path(run, 3), checkpoint_path(run, 9));
  const LatestCheckpoint latest = find_latest(run.path);
  CHECK(latest.directory.empty());
  CHECK(contains(latest.warning, "its manifest says step 3"));
  fs::rename(checkpoint_path(run, 9), run / "best");  // given by path, any name will do
  CHECK(holds_sample(load_checkpoint(run / "best"), 3));
}

TEST_CASE("checkpoint: every kind of bad manifest is refused by file, field and remedy") {
  const Manifest good{
      .step = 4,
      .files = {
          {"config.json", 1, 2}, {"model.safetensors", 3, 4}, {"optimizer.safetensors", 5, 6}, {"trainer.json", 7, 8}}};
  const auto parsed = [](const std::string& text) { return parse_manifest(text, "RUN/manifest.json"); };
  const Manifest again = parsed(manifest_text(good));
  CHECK(again.step == 4);
  REQUIRE(again.files.size() == 4);
  CHECK(again.files[1].name == "model.safetensors");
  CHECK(again.files[1].bytes == 3);
  CHECK(again.files[1].xxh3 == 4);

  // The manifest with one change and a checksum that fits.
  const auto changed = [&](auto change) {
    nlohmann::json object = nlohmann::json::parse(manifest_text(good));
    object.erase("xxh3");
    change(object);
    object["xxh3"] = checksum_text(checksum(as_bytes(object.dump())));
    return error_of([&] { parsed(object.dump()); }).text;
  };
  using Json = nlohmann::json;
  CHECK(changed([](Json&) {}).empty());
  CHECK(contains(changed([](Json& o) { o["version"] = 2; }),
                 "RUN/manifest.json: version is 2; expected 1; use the bittern"));
  CHECK(contains(changed([](Json& o) { o["version"] = "1"; }), "version is \"1\"; expected 1"));
  CHECK(contains(changed([](Json& o) { o["format"] = "x"; }), "format is \"x\"; expected \"bittern-checkpoint\""));
  CHECK(contains(changed([](Json& o) { o.erase("format"); }), "RUN/manifest.json has no format"));
  CHECK(contains(changed([](Json& o) { o["step"] = -1; }), "step is -1; expected a whole number"));
  CHECK(contains(changed([](Json& o) { o["step"] = 1.5; }), "step is 1.5; expected a whole number"));
  CHECK(contains(changed([](Json& o) { o.erase("step"); }), "has no step"));
  CHECK(contains(changed([](Json& o) { o["files"] = 3; }), "files is 3; expected an object"));
  CHECK(contains(changed([](Json& o) { o["files"].erase("trainer.json"); }), "files has no trainer.json"));
  CHECK(contains(changed([](Json& o) { o["files"]["../x"] = o["files"]["config.json"]; }),
                 "files.\"../x\" is not a name"));
  CHECK(contains(changed([](Json& o) { o["files"]["/etc/x"] = o["files"]["config.json"]; }), "is not a name"));
  CHECK(contains(changed([](Json& o) { o["files"]["manifest.json"] = o["files"]["config.json"]; }), "is not a name"));
  CHECK(contains(changed([](Json& o) { o["files"]["config.json"] = 1; }), "files.\"config.json\" has no bytes"));
  CHECK(
      contains(changed([](Json& o) { o["files"]["config.json"]["bytes"] = -1; }), "files.\"config.json\".bytes is -1"));
  CHECK(contains(changed([](Json& o) { o["files"]["config.json"]["bytes"] = 9223372036854775808u; }),
                 "files.\"config.json\".bytes is 9223372036854775808; expected"));
  for (const char* sum : {"", "12", "0123456789abcdef0", "0123456789abcdeg", "0x23456789abcdef", "-123456789abcdef"})
    CHECK(contains(changed([sum](Json& o) { o["files"]["config.json"]["xxh3"] = sum; }),
                   "expected 16 hexadecimal digits"));
  CHECK(contains(error_of([&] { parsed("[]"); }).text, "has no format"));
  CHECK(contains(error_of([&] { parsed(""); }).text, "RUN/manifest.json is not valid JSON"));
  CHECK(contains(error_of([&] { parsed("{\"step\":1,\"step\":2}"); }).text, "has the key \"step\" twice"));
}

TEST_CASE("checkpoint: thousands of damaged manifests say the same, or are refused") {
  TemporaryFolder run;
  const std::string directory = write_checkpoint(run.path, Sample(12345).contents);
  const std::string original = read_bytes(directory + "/manifest.json");
  int same = 0;
  for (std::uint32_t seed = 0; seed < 4000; ++seed) {
    Random random(seed);
    const std::string text = damaged(original, original.size(), random);
    try {
      const Manifest manifest = parse_manifest(text, "manifest.json");
      ++same;
      if (manifest_text(manifest) != original) FAIL("another manifest was accepted, seed " << seed << ": " << text);
    } catch (const Error& error) {
      if (!contains(error.what(), "manifest.json")) FAIL(error.what());
    }
  }
  CHECK(same < 1500);  // faults in white space
}

TEST_CASE("checkpoint: any damage anywhere loads the same data, or is refused") {
  TemporaryFolder run;
  const std::string directory = write_checkpoint(run.path, Sample(8).contents);
  const std::vector<std::string> names = names_in(directory);
  for (std::uint32_t seed = 0; seed < 1500; ++seed) {
    Random random(seed);
    const std::string path = directory + "/" + names[random.below(names.size())], original = read_bytes(path);
    write_bytes(path, damaged(original, original.size(), random));
    try {
      if (!holds_sample(load_checkpoint(directory), 8)) FAIL("damage in " << path << " was not seen, seed " << seed);
    } catch (const Error& error) {
      if (error.exit_code() != ExitCode::bad_input) FAIL(error.what());
    }
    write_bytes(path, original);
  }
  CHECK(holds_sample(load_checkpoint(directory), 8));
}

TEST_CASE("checkpoint: pruning keeps the newest, all for 0, and all when there are fewer") {
  TemporaryFolder run;
  for (const std::int64_t step : {1, 2, 3, 4, 5}) write_checkpoint(run.path, Sample(step).contents);
  const auto count = [&] { return names_in(run / "checkpoints").size(); };
  prune_checkpoints(run.path, 0);
  CHECK(count() == 5);
  prune_checkpoints(run.path, -3);
  CHECK(count() == 5);
  prune_checkpoints(run.path, 100);
  CHECK(count() == 5);
  prune_checkpoints(run.path, 2);
  CHECK(names_in(run / "checkpoints") == std::vector<std::string>{"step_00000004", "step_00000005"});
  prune_checkpoints(run.path, 1);
  CHECK(names_in(run / "checkpoints") == std::vector<std::string>{"step_00000005"});
  prune_checkpoints(run.path, 1);
  CHECK(count() == 1);
  prune_checkpoints(run / "none", 1);
}

TEST_CASE("checkpoint: pruning does not count broken ones, never removes the last good one, nor the protected one") {
  TemporaryFolder run;
  for (const std::int64_t step : {1, 2, 3, 4}) write_checkpoint(run.path, Sample(step).contents);
  for (const std::int64_t step : {3, 4}) fs::resize_file(checkpoint_path(run, step) + "/model.safetensors", 3);
  prune_checkpoints(run.path, 1, {1});
  CHECK(names_in(run / "checkpoints") ==
        std::vector<std::string>{"step_00000001", "step_00000002", "step_00000003", "step_00000004"});
  prune_checkpoints(run.path, 1);
  CHECK(find_latest(run.path).step == 2);
  CHECK(!fs::exists(checkpoint_path(run, 1)));
}

TEST_CASE("checkpoint: a valid one is never overwritten, a broken one is replaced") {
  TemporaryFolder run;
  const std::string directory = write_checkpoint(run.path, Sample(6).contents);
  const std::string manifest = read_bytes(directory + "/manifest.json");
  CHECK(write_checkpoint(run.path, Sample(6).contents) == directory);  // the same: nothing to do

  Sample other(7);
  other.contents.step = 6;
  const Thrown thrown = error_of([&] { write_checkpoint(run.path, other.contents); });
  CHECK(thrown.code == ExitCode::failure);
  CHECK(contains(thrown.text, "step_00000006: cannot save the checkpoint: it exists with other weights"));
  CHECK(read_bytes(directory + "/manifest.json") == manifest);
  CHECK(holds_sample(load_checkpoint(directory), 6));
  CHECK(names_in(run / "checkpoints").size() == 1);

  fs::remove(directory + "/trainer.json");
  write_checkpoint(run.path, Sample(6).contents);
  CHECK(holds_sample(load_checkpoint(directory), 6));
}

TEST_CASE("checkpoint: killed while a broken one is replaced: it is there as it was, or gone, or whole") {
  TemporaryFolder run;
  constexpr std::int64_t rows = 1000;
  write_checkpoint(run.path, Sample(1, rows).contents);
  const std::string directory = checkpoint_path(run, 2);
  const Sample sample(2, rows);
  Random random(5);
  int as_it_was = 0, gone = 0, whole = 0;
  for (int round = 0; round < 60; ++round) {
    remove_unfinished_checkpoints(run.path);
    fs::remove_all(directory);
    write_checkpoint(run.path, sample.contents);
    fs::remove(directory + "/manifest.json");  // broken, with three large files more that take time to remove
    for (int i = 0; i < 3; ++i) write_bytes(directory + "/more" + std::to_string(i), std::string(2 << 20, 'x'));
    const std::vector<std::string> before = names_in(directory);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      write_checkpoint(run.path, sample.contents);
      ::_exit(0);
    }
    // From the moment on at which the new one is written but for its name, which is when the broken one goes.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (round % 4 != 0 && !fs::exists(directory + ".tmp/manifest.json") &&
           !fs::exists(directory + "/manifest.json") && std::chrono::steady_clock::now() < deadline) {
    }
    ::usleep(static_cast<useconds_t>(random.below(2000)));
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(holds_sample(load_checkpoint(checkpoint_path(run, 1)), 1, rows));
    if (!fs::exists(directory)) {
      ++gone;
    } else if (fs::exists(directory + "/manifest.json")) {
      ++whole;
      CHECK(holds_sample(load_checkpoint(directory), 2, rows));
    } else {
      ++as_it_was;
      CHECK(names_in(directory) == before);
    }
  }
  CAPTURE(as_it_was, gone, whole);
  CHECK(as_it_was + whole > 0);
}

TEST_CASE("checkpoint: what a killed run left is removed at the start, and nothing else") {
  TemporaryFolder run;
  write_checkpoint(run.path, Sample(1).contents);
  fs::create_directory(run / "checkpoints/step_00000002.tmp");
  write_bytes(run / "checkpoints/step_00000002.tmp/model.safetensors", "half");
  fs::create_directory(run / "checkpoints/step_00000001.removed.tmp");
  fs::create_directory(run / "checkpoints/mine.tmp");
  fs::create_directory(run / "checkpoints/step_x.tmp");
  remove_unfinished_checkpoints(run.path);
  CHECK(names_in(run / "checkpoints") == std::vector<std::string>{"mine.tmp", "step_00000001", "step_x.tmp"});
  remove_unfinished_checkpoints(run / "none");
}

namespace {

// While it lives, no file can grow beyond `bytes`: what a full disk looks like from inside.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    before_signal_ = ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, before_signal_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*before_signal_)(int);
};

}  // namespace

TEST_CASE("checkpoint: a write that fails, at any file, loses nothing and says what and how much") {
  TemporaryFolder run;
  const std::string older = write_checkpoint(run.path, Sample(1).contents);
  // Sizes at which model.safetensors, optimizer.safetensors or the manifest are the first not to fit.
  Sample sample(2, 40);
  const auto model_bytes = static_cast<rlim_t>(safetensors_file_bytes(sample.contents.model));
  const auto optimizer_bytes = static_cast<rlim_t>(safetensors_file_bytes(sample.contents.optimizer));
  Sample wordy(2);
  wordy.contents.trainer_json = "\"" + std::string(5000, 'x') + "\"";
  struct Case {
    rlim_t limit;
    const CheckpointContents* contents;
    const char* file;
  };
  for (const Case& c :
       {Case{0, &sample.contents, "model.safetensors"}, Case{model_bytes - 1, &sample.contents, "model.safetensors"},
        Case{optimizer_bytes - 1, &sample.contents, "optimizer.safetensors"},
        Case{4000, &wordy.contents, "trainer.json"}}) {
    INFO(c.file << " limited to " << c.limit);
    Thrown thrown;
    {
      const FileSizeLimit limit(c.limit);
      thrown = error_of([&] { write_checkpoint(run.path, *c.contents); });
    }
    CHECK(thrown.code == ExitCode::failure);
    INFO(thrown.text);
    CHECK(contains(thrown.text, checkpoint_path(run, 2) + ": cannot save the checkpoint: "));
    CHECK(contains(thrown.text, std::string(c.file) + ": cannot write: File too large"));
    CHECK(contains(thrown.text, "; it needs "));
    CHECK(contains(thrown.text, " are free; earlier checkpoints are untouched"));
    CHECK(names_in(run / "checkpoints") == std::vector<std::string>{"step_00000001"});
    CHECK(holds_sample(load_checkpoint(older), 1));
  }
  write_checkpoint(run.path, sample.contents);  // and then it works
  CHECK(find_latest(run.path).step == 2);
}

TEST_CASE("checkpoint: more than the disk has is refused before anything is written") {
  TemporaryFolder run;
  write_checkpoint(run.path, Sample(1).contents);
  // A view of 2^60 bytes that nobody reads.
  CheckpointContents huge = Sample(2).contents;
  static const std::byte byte{};
  huge.model = {{.name = "huge",
                 .dtype = "U8",
                 .shape = {1, std::int64_t{1} << 60},
                 .data = std::span<const std::byte>(&byte, std::size_t{1} << 60)}};
  huge.optimizer.clear();
  const Thrown thrown = error_of([&] { write_checkpoint(run.path, huge); });
  CHECK(thrown.code == ExitCode::failure);
  CHECK(contains(thrown.text, "there is not enough space; free some or choose another disk; it needs 11529215046"));
  CHECK(names_in(run / "checkpoints") == std::vector<std::string>{"step_00000001"});
}

TEST_CASE("checkpoint: a run folder that cannot be written is an error that names it") {
  TemporaryFolder run;
  write_bytes(run / "file", "");
  const Thrown thrown = error_of([&] { write_checkpoint(run / "file", Sample(1).contents); });
  CHECK(thrown.code == ExitCode::failure);
  CHECK(contains(thrown.text, "file/checkpoints"));
  CHECK(contains(thrown.text, "Not a directory"));
  if (::geteuid() == 0) return;  // root may write anywhere
  fs::create_directories(run / "shut/checkpoints");
  fs::permissions(run / "shut/checkpoints", fs::perms::owner_read | fs::perms::owner_exec);
  CHECK(contains(error_of([&] { write_checkpoint(run / "shut", Sample(1).contents); }).text, "Permission denied"));
  fs::permissions(run / "shut/checkpoints", fs::perms::owner_all);
}

TEST_CASE("checkpoint writer: saves in the background, prunes after success, one at a time") {
  TemporaryFolder run;
  std::vector<Sample> samples;
  for (const std::int64_t step : {10, 20, 30, 40}) samples.emplace_back(step);
  fs::create_directories(run / "checkpoints/step_00000005.tmp");
  {
    CheckpointWriter writer(run.path, 2);
    CHECK(!fs::exists(run / "checkpoints/step_00000005.tmp"));
    CHECK(writer.idle());
    for (const Sample& sample : samples) writer.submit(sample.contents);
    writer.wait();
    CHECK(writer.idle());
    CHECK(names_in(run / "checkpoints") == std::vector<std::string>{"step_00000030", "step_00000040"});
    writer.submit(samples[0].contents);
  }                                                                    // the destructor waits
  CHECK(holds_sample(load_checkpoint(checkpoint_path(run, 10)), 10));  // just written: protected, though the oldest
  CHECK(holds_sample(load_checkpoint(checkpoint_path(run, 40)), 40));
}

TEST_CASE("checkpoint writer: submit returns while the checkpoint is being written") {
  TemporaryFolder run;
  // 128 MiB, of one MiB of memory: they take at least 50 ms to write, of which submit and idle() take some 0.1.
  const OwnedTensor piece = random_tensor("piece", "U8", {1 << 20}, 1);
  Sample sample(1);
  for (int i = 0; i < 128; ++i) {
    sample.contents.model.push_back(piece.view());
    sample.contents.model.back().name = "piece" + std::to_string(i);
  }
  CheckpointWriter writer(run.path, 1);
  writer.submit(sample.contents);
  CHECK_FALSE(writer.idle());
  CHECK_FALSE(fs::exists(checkpoint_path(run, 1)));
  writer.wait();
  CHECK(writer.idle());
  CHECK(read_all(load_checkpoint(checkpoint_path(run, 1)).model, "piece127") == piece.bytes);
}

TEST_CASE("checkpoint writer: an error in the background comes out once, as it was, and the next save works") {
  TemporaryFolder run;
  const Sample first(1), second(2, 40), third(3);
  CheckpointWriter writer(run.path, 1);
  writer.submit(first.contents);
  writer.wait();
  for (const bool by_submit : {false, true}) {
    Thrown thrown;
    {
      const FileSizeLimit limit(2000);
      writer.submit(second.contents);
      thrown = error_of([&] { by_submit ? writer.submit(third.contents) : writer.wait(); });
    }
    CHECK(thrown.code == ExitCode::failure);
    CHECK(contains(thrown.text, "step_00000002: cannot save the checkpoint: "));
    CHECK(error_of([&] { writer.wait(); }).text.empty());
    CHECK(find_latest(run.path).step == 1);  // the failure pruned nothing
  }
  writer.submit(third.contents);
  writer.wait();
  CHECK(names_in(run / "checkpoints") == std::vector<std::string>{"step_00000003"});
}

namespace {

// Checkpoints written after step `before`, the one being written counted by its bytes so far.
double progress_since(const TemporaryFolder& run, std::int64_t before, double checkpoint_bytes) {
  double progress = 0;
  std::error_code gone;  // a folder may be renamed or pruned while it is looked at
  for (fs::directory_iterator item(run / "checkpoints", gone), end; !gone && item != end; item.increment(gone)) {
    const std::string name = item->path().filename().string();
    if (const auto step = checkpoint_step(name)) progress = std::max(progress, static_cast<double>(*step - before));
    if (!name.ends_with(".tmp")) continue;
    double bytes = 0;
    std::error_code ignored;
    for (fs::directory_iterator file(item->path(), ignored); !ignored && file != end; file.increment(ignored))
      bytes += static_cast<double>(file->file_size(ignored));
    progress += std::min(0.99, bytes / checkpoint_bytes);
  }
  return progress;
}

}  // namespace

TEST_CASE("checkpoint: killed 50 times at random moments of writing, there is always a valid one") {
  TemporaryFolder run("killed", TemporaryFolder::Place::disk);  // whose fsync takes time
  constexpr std::int64_t rows = 1000;                           // some 200 kB a checkpoint
  const double checkpoint_bytes = 4.0 * 16 * 3 * rows;
  write_checkpoint(run.path, Sample(1, rows).contents);
  std::int64_t before = 1;
  int found_unfinished = 0, advanced = 0;
  Random random(77);
  for (int round = 0; round < 50; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {  // goes on from the latest and saves until it is killed
      CheckpointWriter writer(run.path, 2);
      for (std::int64_t step = before + 1;; ++step) {
        const Sample sample(step, rows);
        if (round % 5 == 0) {
          writer.submit(sample.contents);
          writer.wait();
        } else {  // the same without the writer's low priority: a busy machine would take long
          write_checkpoint(run.path, sample.contents);
          prune_checkpoints(run.path, 2, {step});
        }
      }
    }
    // A moment by progress, not by the clock, so that a slow machine tests the same; then a little later, for the
    // fsyncs.
    const double moment = static_cast<double>(random.below(2000)) / 1000;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (progress_since(run, before, checkpoint_bytes) < moment && std::chrono::steady_clock::now() < deadline)
      ::usleep(50);
    ::usleep(static_cast<useconds_t>(random.below(3000)));
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));

    const LatestCheckpoint latest = find_latest(run.path);
    INFO("round " << round << ": " << latest.warning);
    REQUIRE(!latest.directory.empty());
    REQUIRE(latest.warning.empty());
    REQUIRE(latest.step >= before);
    REQUIRE(holds_sample(load_checkpoint(latest.directory), latest.step, rows));
    advanced += latest.step > before;
    for (const std::string& name : names_in(run / "checkpoints")) found_unfinished += name.ends_with(".tmp");
    before = latest.step;
  }
  CHECK(advanced > 10);
  CHECK(found_unfinished > 10);  // the moments were interesting
}
