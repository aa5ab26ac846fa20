// prepare: what people give it that is not quite a text: archives, foreign files, pipes, bad lines, copies.
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "base/foreign_format.h"
#include "bittern/prepare.h"
#include "catch.h"
#include "data/block_text.h"
#include "data/prepare_support.h"
#include "data/spool.h"

using namespace bittern;
using namespace bittern_test;
namespace fs = std::filesystem;

namespace {

std::string json_lines(const std::vector<std::string>& texts) {
  std::string json;
  for (const std::string& text : texts) json += "{\"text\": \"" + text + "\"}\n";
  return json;
}

std::set<std::string> documents(const std::string& text) {
  std::set<std::string> found;
  std::istringstream stream(text);
  for (std::string one; std::getline(stream, one, '|');) found.insert(one);
  return found;
}

}  // namespace

TEST_CASE("prepare: zstd with frames to be skipped, with long windows; one that needs a dictionary is told apart") {
  const Folder folder;
  const std::string text = prose(1, 200000);
  std::string skipped("\x50\x2A\x4D\x18\x04\x00\x00\x00....", 12);
  skipped += std::string("\x5F\x2A\x4D\x18\x00\x00\x00\x00", 8);
  CHECK(prepare_text(folder, {folder.write("a.zst", skipped + zstd(text) + skipped + zstd("end"))}).train ==
        text + "end|");
  CHECK(prepare_text(folder, {folder.write("b.jsonl.zst", skipped + zstd(json_lines({"hi"})))}).train == "hi|");
  CHECK(prepare_text(folder, {folder.write("long.zst", zstd(text, 28))}).train == text + "|");
  std::string dictionary = prose(2, 3000);
  // A dictionary with an id of its own: magic, id, then entropy tables that a raw one has not; a frame names that id.
  const std::string frame = zstd(text);
  std::string named = frame.substr(0, 4);
  // The descriptor's lowest two bits say that one byte of dictionary id follows, after the window's byte if there is one.
  const auto descriptor = static_cast<unsigned char>(frame[4]);
  const bool single_segment = descriptor & 0x20;
  named += static_cast<char>(descriptor | 1);
  named += frame.substr(5, single_segment ? 0 : 1) + "\x07" + frame.substr(single_segment ? 5 : 6);
  const std::string message = prepare_error(folder, {folder.write("c.zst", named)});
  CHECK(contains(message, "c.zst: was compressed with a dictionary"));
  CHECK_FALSE(contains(message, "damaged"));
}

TEST_CASE("prepare: what is not text is called by its name") {
  const Folder folder;
  std::string tar(1024, 'x');
  tar.replace(257, 5, "ustar");
  const std::pair<std::string, std::string> files[] = {
      {"PAR1" + prose(1, 1000), "a Parquet file, not text; write its texts as JSON lines first"},
      {"PK\x03\x04 rest", "a zip archive, not text; unpack it first"},
      {std::string("\xFD"
                   "7zXZ\0 rest",
                   11),
       "an xz archive, not text; unpack it first (xz -d)"},
      {"BZh91AY&SY rest", "a bzip2 archive"},
      {tar, "a tar archive"},
      {gzip(tar), "a tar archive"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a git-lfs pointer"},
      {std::string("\x04\x22\x4D\x18 rest"), "an lz4 archive"},
      {"BTNTOKEN rest", "a token shard of bittern"},
      {llmc_bytes({1, 2, 3}), "a token file of llm.c"}};
  for (const auto& [bytes, name] : files)
    for (const char* as : {"a.txt", "a", "a.jsonl"})
      CHECK(contains(prepare_error(folder, {folder.write(as, bytes)}), std::string(as) + ": is " + name));
  CHECK(prepare_text(folder, {folder.write("b.txt", "BZh is how a word may begin")}).train ==
        "BZh is how a word may begin|");
  CHECK_FALSE(foreign_format("").has_value());
}

TEST_CASE("prepare: a pipe is read as the file would be, whatever it holds, and leaves nothing behind") {
  const Folder folder;
  shared_model();  // trained in a process of its own, which is best begun before there are threads
  const std::string text = prose(3, 700000), json = json_lines({"one", "two"});
  const std::pair<std::string, std::string> inputs[] = {
      {text, text + "|"}, {gzip(text), text + "|"}, {json, "one|two|"}};
  for (const auto& [bytes, expected] : inputs) {
    const std::string fifo = folder / "fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    std::thread writer([&] {
      const int end = ::open(fifo.c_str(), O_WRONLY);
      for (std::size_t at = 0; at < bytes.size();)
        at += static_cast<std::size_t>(std::max<ssize_t>(0, ::write(end, bytes.data() + at, bytes.size() - at)));
      ::close(end);
    });
    CHECK(prepare_text(folder, {fifo}).train == expected);
    writer.join();
    std::set<std::string> names;
    for (const auto& [name, content] : contents(folder / "out")) names.insert(name);
    CHECK(names == std::set<std::string>{"data.json", "tokenizer.model", "train_00000.bin"});
    fs::remove(fifo);
  }
  // A file that is named before a pipe and after it would be read twice.
  const std::string fifo = folder / "fifo", file = folder.write("a.txt", text);
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  std::thread writer([&] { std::ofstream(fifo) << "from the pipe"; });
  CHECK(contains(prepare_error(folder, {file, fifo, file}), "a.txt: is given twice"));
  writer.join();
}

TEST_CASE("prepare: a pipe that nobody writes to, and a signal while it is silent, are no reason not to hear a stop") {
  const Folder folder;
  static std::atomic<bool> signalled;
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) { signalled = true; };
  action.sa_flags = SA_RESTART;  // as the program's own handlers
  REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
  const std::string fifo = folder / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const int stdin_before = ::dup(STDIN_FILENO);
  REQUIRE(::dup2(ends[0], STDIN_FILENO) == STDIN_FILENO);
  for (const std::string& input : {fifo, std::string("-")}) {
    signalled = false;
    std::atomic<bool> over = false, fed = false;
    // Asks for a stop once; a copying that did not hear it gets a text after two seconds, and the test fails.
    std::thread other([&, caller = ::pthread_self()] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      ::pthread_kill(caller, SIGUSR1);
      for (int i = 0; i < 200 && !over; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      if (over) return;
      fed = true;
      const int end = input == "-" ? ends[1] : ::open(fifo.c_str(), O_WRONLY);
      CHECK(::write(end, "text", 4) == 4);
      ::close(end);
    });
    const auto [code, message] = error_of([&] {
      spool(input, folder / "copy", [] {
        if (signalled) throw Error(ExitCode::interrupted, "stop");
      });
    });
    over = true;
    other.join();
    INFO(input);
    CHECK_FALSE(fed);
    CHECK(code == 75);
  }
  ::dup2(stdin_before, STDIN_FILENO);
  ::close(stdin_before);
  ::close(ends[0]);
  ::close(ends[1]);
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE(
    "prepare: JSON lines have NaN and numbers of any size; texts lie in objects; bad lines are skipped if asked") {
  const Folder folder;
  const std::string odd =
      "{\"score\": NaN, \"text\": \"NaN 1e999 \\\" -Infinity\"}\n"
      "{\"n\": [1e999, -Infinity, Infinity, -1e+400, 123456789012345678901234567890], \"text\": \"b\"}\n";
  CHECK(prepare_text(folder, {folder.write("a.jsonl", odd)}).train == "NaN 1e999 \" -Infinity|b|");
  CHECK(contains(prepare_error(folder, {folder.write("a.jsonl", "{\"text\": NaN}\n")}),
                 "a.jsonl:1: the line has a number"));
  for (const char* bad :
       {"{\"n\": 1e, \"text\": \"x\"}", "{\"n\": NaNs, \"text\": \"x\"}", "{\"n\": 01, \"text\": \"x\"}",
        "{\"n\": 1.2.3, \"text\": \"x\"}", "{\"n\": 1-2, \"text\": \"x\"}", "{\"n\": [1 Infinity1], \"text\": \"x\"}",
        "{\"n\": -, \"text\": \"x\"}", "{\"n\": .5, \"text\": \"x\"}"})
    CHECK(contains(prepare_error(folder, {folder.write("a.jsonl", bad)}), "is not valid JSON"));

  const std::string nested =
      "{\"a\": {\"b\": {\"text\": \"deep\", \"x\": {\"text\": \"no\"}}, \"text\": \"no\"}, \"text\": \"no\"}\n"
      "{\"a.b.text\": \"dotted\"}\n{\"a\": [{\"b\": {\"text\": \"no\"}}], \"a.b\": {\"text\": \"half\"}}\n";
  CHECK(
      prepare_text(folder, {folder.write("n.jsonl", nested)}, {.valid_fraction = 0, .text_field = "a.b.text"}).train ==
      "deep|dotted|half|");

  std::string lines;
  for (int i = 0; i < 3000; ++i)
    lines += i % 1000 == 7   ? "{\"text\": null}\n"
             : i % 1000 == 9 ? "{\"te"
                             : "{\"text\": \"t" + std::to_string(i) + "\"}\n";
  const std::string input = folder.write("bad.jsonl", lines);
  CHECK(contains(prepare_error(folder, {input}),
                 "bad.jsonl:8: the line has null as \"text\"; expected one object a line "
                 "with a text in \"text\" (another name: --text-field; to leave such lines "
                 "out: --skip-bad-lines)"));
  const Prepared kept = prepare_text(folder, {input}, {.valid_fraction = 0, .skip_bad_lines = true, .threads = 2});
  CHECK(kept.summary.skipped_lines == 6);  // the cut ones swallow the line behind them
  CHECK(kept.summary.train_documents == 3000 - 9);
  REQUIRE(kept.summary.warnings.size() == 1);
  CHECK(contains(kept.summary.warnings[0], "6 lines were skipped; the first: " + input + ":8: the line has null"));
  CHECK(contains(read(folder / "out/data.json"), "\"skipped_lines\": 6"));
}

TEST_CASE("prepare: a JSON line that is too long is a bad line, wherever blocks end and however long it is") {
  const Folder folder;
  constexpr std::int64_t longest = 200000;
  const auto line = [](std::size_t bytes) { return json_lines({std::string(bytes - 12, 'x')}); };
  REQUIRE(line(longest).size() == longest + 1);  // with its newline
  const std::string input = folder.write(
      "long.jsonl", json_lines({"one"}) + line(longest) + line(longest + 1) + std::string(3 * longest, ' ') + "{\n" +
                        json_lines({"two"}) + "{\n" + line(10 * longest) + json_lines({"three"}) + line(5 * longest));
  for (const std::int64_t block_bytes : {std::int64_t{1}, longest, 8 * longest})
    for (const int threads : {1, 3}) {
      PrepareOptions options{
          .valid_fraction = 0, .threads = threads, .block_bytes = block_bytes, .longest_json_line = longest};
      const auto [code, message] = error_of([&] { prepare_text(folder, {input}, options); });
      CHECK(code == 2);
      CHECK(contains(message, input + ":3: the line is longer than 200000 bytes; expected one object a line"));
      options.skip_bad_lines = true;
      const Prepared kept = prepare_text(folder, {input}, options);
      CHECK(kept.train == "one|" + std::string(longest - 12, 'x') + "|two|three|");
      CHECK(kept.summary.skipped_lines == 5);
      REQUIRE(kept.summary.warnings.size() == 1);
      CHECK(contains(kept.summary.warnings[0], "5 lines were skipped; the first: " + input + ":3: the line is longer"));
    }
  // Lines behind a long one keep their numbers.
  const std::string last = folder.write("last.jsonl", line(10 * longest) + "\n{\"text\": 1}\n");
  const std::string after = folder.write("after.jsonl", json_lines({"one"}));
  std::vector<std::string> skipped;
  std::size_t most = 0;
  const std::vector<TextFile> files = find_text_files({last, after});
  BlockReader reader(files, {1, longest});
  while (auto block = reader.next()) {
    most = std::max(most, block->bytes.size());
    const std::size_t file = block->file;
    const BlockText text = read_block(std::move(*block), files[file], {"text", true, longest});
    if (text.skipped > 0) skipped.push_back(text.first_skipped);
  }
  REQUIRE(skipped.size() == 2);
  CHECK(contains(skipped[0], "last.jsonl:1: the line is longer than"));
  CHECK(contains(skipped[1], "last.jsonl:3: the line has a number"));
  CHECK(most == longest + 1);  // of the long line no more is held
}

TEST_CASE("prepare: JSON lines are seen behind a byte order mark; in a file that is named as text they are warned of") {
  const Folder folder;
  const std::string json = json_lines({"one", "two"}), mark = "\xEF\xBB\xBF";
  CHECK(prepare_text(folder, {folder.write("plain", mark + json)}).train == "one|two|");
  CHECK(prepare_text(folder, {folder.write("a.jsonl", mark + json)}).train == "one|two|");
  for (const std::string& front : {std::string(), mark}) {
    const Prepared as_text = prepare_text(folder, {folder.write("a.txt", front + json), folder.write("b.txt", json)});
    CHECK(as_text.summary.train_documents == 2);
    REQUIRE(as_text.summary.warnings.size() == 1);
    CHECK(contains(as_text.summary.warnings[0],
                   "a.txt (and 1 more) begins with a JSON object but is named as plain text"));
  }
  CHECK(prepare_text(folder, {folder.write("a.txt", "{ \"an unfinished thought\n")}).summary.warnings.empty());
  CHECK(prepare_text(folder, {folder.write("a.txt", "{}\n")}).summary.warnings.empty());
}

TEST_CASE("prepare: copies of a text are all in one split, in blocks of any size; where that cannot be, it is said") {
  const Folder folder;
  std::string plain;
  std::vector<std::string> texts;
  for (int i = 0; i < 150; ++i) texts.push_back(prose(static_cast<std::uint32_t>(i), i % 50 == 0 ? 300000 : 60));
  for (int copy = 0; copy < 3; ++copy)
    for (const std::string& text : texts) plain += text + "\n<|endoftext|>\n";
  for (const std::int64_t block : {std::int64_t{1}, std::int64_t{1} << 20}) {
    const Prepared prepared = prepare_text(folder, {folder.write("a.txt", plain)},
                                           {.valid_fraction = 0.1, .threads = 2, .block_bytes = block});
    const std::set<std::string> train = documents(prepared.train), valid = documents(prepared.valid);
    CHECK(train.size() + valid.size() == texts.size());
    CHECK(valid.size() > 3);
    CHECK(prepared.summary.valid_documents == static_cast<std::int64_t>(3 * valid.size()));
    CHECK(prepared.summary.warnings.empty());
  }
  // So few documents that the split is by place.
  const Prepared few = prepare_text(folder,
                                    {folder.write("a.txt", prose(5, 3000)), folder.write("b.txt", prose(5, 3000)),
                                     folder.write("c.txt", prose(6, 3000))},
                                    {.valid_fraction = 0.1});
  REQUIRE(few.summary.warnings.size() == 1);
  CHECK(contains(few.summary.warnings[0], "1 of 3 documents are duplicates of another"));
  // So few texts that none is chosen.
  std::string same;
  for (int i = 0; i < 1000; ++i) same += "{\"text\": \"the same\"}\n";
  const Prepared one = prepare_text(folder, {folder.write("s.jsonl", same)}, {.valid_fraction = 0.05});
  REQUIRE(one.summary.warnings.size() == 1);
  CHECK(contains(one.summary.warnings[0], "the 1000 documents are copies of few texts"));
}

TEST_CASE("prepare: the training of a tokenizer shows how far it is, and hears within a second that it must stop") {
  const Folder folder;
  std::string text;  // without spaces, which trains slowly
  Random random(3);
  while (text.size() < 3000000) {
    for (int i = 0; i < 60; ++i) {
      const std::uint32_t code = 0x4E00 + random.below(1 + random.below(3000));
      text += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)),
               static_cast<char>(0x80 | (code & 63))};
    }
    text += '\n';
  }
  std::atomic<bool> stop = false;
  std::int64_t ids = 0;
  std::chrono::steady_clock::time_point asked;
  PrepareOptions options{.inputs = {folder.write("a.txt", text)}, .out = folder / "out", .vocab_size = 8000};
  options.stop = [&] { return stop.load(); };
  const auto [code, message] = error_of([&] {
    prepare(options, [&](const PrepareProgress& progress) {
      if (progress.stage != "training the tokenizer" || stop) return;
      CHECK(progress.of == 8000);
      CHECK(progress.done >= ids);
      ids = progress.done;
      if (ids > 3 + 256) {
        asked = std::chrono::steady_clock::now();
        stop = true;
      }
    });
  });
  CHECK(code == 75);
  CHECK(ids > 3 + 256);
  CHECK(std::chrono::steady_clock::now() - asked < std::chrono::seconds(5));
  CHECK_FALSE(fs::exists(folder / "out"));
}
