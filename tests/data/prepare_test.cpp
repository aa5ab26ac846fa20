// prepare: text in, token shards out, whatever the shape of the text and the threads; nothing half-made is left behind.
#include "bittern/prepare.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <map>
#include <memory>
#include <set>

#include "bittern/tokenizer.h"
#include "catch.h"
#include "data/prepare_support.h"

using namespace bittern;
using namespace bittern_test;
namespace fs = std::filesystem;

TEST_CASE("prepare: trains a tokenizer, writes shards and a manifest that a stream opens") {
  const Folder folder;
  const std::string text = prose(2, 300000);
  const PrepareSummary summary = prepare({.inputs = {folder.write("a.txt", text)},
                                          .out = folder / "out",
                                          .vocab_size = 600,
                                          .valid_fraction = 0.1,
                                          .threads = 2});
  CHECK(summary.vocab_size == 600);
  CHECK(summary.files == 1);
  CHECK(summary.text_bytes == static_cast<std::int64_t>(text.size()));
  CHECK(summary.warnings.empty());
  CHECK(tokens_as_text(folder / "out", Split::train) + tokens_as_text(folder / "out", Split::valid) ==
        text.substr(0, text.size() - tokens_as_text(folder / "out", Split::valid).size() + 1) + "|" +
            tokens_as_text(folder / "out", Split::valid));
  const TokenStream train = TokenStream::open(folder / "out"), valid = TokenStream::open(folder / "out", Split::valid);
  CHECK(train.token_count() == summary.train_tokens);
  CHECK(valid.token_count() == summary.valid_tokens);
  const double share =
      static_cast<double>(summary.valid_tokens) / static_cast<double>(summary.train_tokens + summary.valid_tokens);
  CHECK(std::abs(share - 0.1) < 0.005);
  CHECK(train.bytes_per_token() > 1);
  CHECK(train.vocab_size() == 600);
  std::set<std::string> names;
  for (const auto& [name, bytes] : contents(folder / "out")) names.insert(name);
  CHECK(names == std::set<std::string>{"data.json", "tokenizer.model", "train_00000.bin", "valid_00000.bin"});
}

TEST_CASE("prepare: the output does not depend on threads or blocks, for any kind of model and text") {
  const Folder folder;
  std::string long_lines;
  while (long_lines.size() < 250000) long_lines += long_lines.size() % 3 ? "word " : "\xE6\x97\xA5\xE6\x9C\xAC";
  std::string json;
  for (std::uint32_t i = 0; i < 300; ++i) {
    std::string escaped;
    for (const char c : prose(i, 300 + 50 * i % 1500))
      escaped += c == '\n' ? "\\n" : c == '\t' ? "\\t" : std::string(1, c);
    json += "{\"id\": " + std::to_string(i) + ", \"text\": \"" + escaped + "\"}\n";
  }
  const std::vector<std::string> inputs = {
      folder.write("in/a.txt", prose(3, 200000)), folder.write("in/long.txt", long_lines),
      folder.write("in/c.jsonl", json),
      folder.write("in/d.txt", "A\n<|endoftext|>\n" + prose(4, 150000) + "\n<|endoftext|>\n\n\nB \xFF\xFE c\n" +
                                   std::string(140000, '\n') + "end"),
      folder.write("in/z.txt.gz", gzip(prose(5, 200000)))};
  // A model of LLaMA's kind (dummy prefix) and of T5's kind (normalises): the trained one with its switches changed.
  // Appended fields are merged into the normaliser's settings: add_dummy_prefix, remove_extra_whitespaces.
  const std::string models[] = {shared_model(), shared_model() + std::string("\x1A\x02\x18\x01", 4),
                                shared_model() + std::string("\x1A\x04\x18\x01\x20\x01", 6)};
  for (const std::string& model : models)
    for (const double fraction : {0.02, 0.1}) {  // the last part of the text; whole documents
      std::map<std::string, std::string> expected;
      for (const auto& [threads, block] : {std::pair{1, 1 << 20}, {2, 1}, {8, 150001}}) {
        prepare({.inputs = inputs,
                 .out = folder / "out",
                 .tokenizer = folder.write("m.model", model),
                 .valid_fraction = fraction,
                 .threads = threads,
                 .overwrite = true,
                 .shard_tokens = 200000,
                 .block_bytes = block});
        const auto files = contents(folder / "out");
        if (expected.empty()) expected = files;
        for (const auto& [name, bytes] : expected) {
          INFO(fmt::format("{}, model of {} bytes, fraction {}, blocks of {}", name, model.size(), fraction, block));
          CHECK((files.contains(name) && files.at(name) == bytes));
        }
        CHECK(files.size() == expected.size());
      }
      CHECK(expected.size() >= 5);
    }
}

TEST_CASE("prepare: a trained tokenizer does not depend on threads or blocks either, sampled or not") {
  const Folder folder;
  const std::string input = folder.write("a.txt", prose(6, 1000000));
  std::map<std::string, std::string> expected;
  for (const auto& [threads, block] : {std::pair{1, 1 << 20}, {4, 140000}}) {
    prepare({.inputs = {input},
             .out = folder / "out",
             .vocab_size = 400,
             .threads = threads,
             .overwrite = true,
             .sample_bytes = 200000,
             .block_bytes = block});
    if (expected.empty()) expected = contents(folder / "out");
    CHECK(contents(folder / "out") == expected);
  }
}

TEST_CASE("prepare: ids are those of the tokenizer on the whole document") {
  const Folder folder;
  const std::string text = prose(7, 400000);
  prepare_text(folder, {folder.write("a.txt", text)}, {.valid_fraction = 0, .threads = 3, .block_bytes = 1});
  const TokenStream stream = TokenStream::open(folder / "out");
  Ids ids(static_cast<std::size_t>(stream.token_count()));
  stream.read(0, ids);
  Ids expected = Tokenizer::from_bytes(shared_model(), "shared").encode(text);
  expected.push_back(2);
  CHECK(ids == expected);
}

TEST_CASE("prepare: a file is a document, unless separator lines divide it; empty documents vanish") {
  const Folder folder;
  const Prepared one = prepare_text(folder, {folder.write("a.txt", "one\n\ntwo\n"), folder.write("b.txt", "three")});
  CHECK(one.train == "one\n\ntwo\n|three|");
  CHECK(one.summary.train_documents == 2);
  const Prepared many =
      prepare_text(folder, {folder.write("c.txt",
                                         "<|endoftext|>\nA\nA<|endoftext|>\n<|endoftext|>\n<|endoftext|>\r\n\nB "
                                         "<|endoftext|>\n<|endoftext|>x\n<|endoftext|>\n<|endoftext|>")});
  CHECK(many.train == "A\nA<|endoftext|>\n|\nB <|endoftext|>\n<|endoftext|>x\n|");
  CHECK(many.summary.train_documents == 2);
  // A separator at the very end of a block: 131073 is the smallest block.
  for (int extra = -16; extra <= 4; ++extra) {
    std::string head;
    while (static_cast<int>(head.size()) < 131073 - 14 + extra) head += head.size() % 5 ? 'x' : ' ';
    const Prepared cut = prepare_text(folder, {folder.write("d.txt", head + "\n<|endoftext|>\ny\n")},
                                      {.valid_fraction = 0, .block_bytes = 1});
    CHECK(cut.train == head + "\n|y\n|");
  }
}

TEST_CASE("prepare: gzip and zstd, several members, padding, told by their first bytes") {
  const Folder folder;
  const std::string a = prose(8, 200000), b = prose(9, 100000);
  CHECK(prepare_text(folder, {folder.write("x.txt.gz", gzip(a) + gzip(b))}).train == a + b + "|");
  CHECK(prepare_text(folder, {folder.write("x.zst", zstd(a) + zstd("") + zstd(b))}).train == a + b + "|");
  CHECK(prepare_text(folder, {folder.write("misnamed.txt", gzip(a) + std::string(512, '\0'))}).train == a + "|");
  CHECK(prepare_text(folder, {folder.write("j.jsonl.gz", gzip("{\"text\": \"hi\"}\n"))}).train == "hi|");

  const std::string packed_gz = gzip(a), packed_zst = zstd(a);
  CHECK(contains(prepare_error(folder, {folder.write("cut.gz", packed_gz.substr(0, packed_gz.size() / 2))}),
                 "cut.gz: the gzip data ends inside a member, at byte " + std::to_string(packed_gz.size() / 2)));
  CHECK(contains(prepare_error(folder, {folder.write("cut.zst", packed_zst.substr(0, packed_zst.size() - 3))}),
                 "the zstd data ends inside a frame, at byte " + std::to_string(packed_zst.size() - 3)));
  std::string flipped = packed_gz;
  flipped[flipped.size() / 2] ^= 0x55;
  CHECK(contains(prepare_error(folder, {folder.write("bad.gz", flipped)}), "the gzip data is damaged at byte "));
  for (const double place : {0.1, 0.5, 0.9}) {  // whatever lies there: a header, literals, sequences
    flipped = packed_zst;
    flipped[static_cast<std::size_t>(place * static_cast<double>(flipped.size()))] ^= 0x55;
    CHECK(contains(prepare_error(folder, {folder.write("bad.zst", flipped)}),
                   "bad.zst: the zstd data is damaged at byte "));
  }
  CHECK(contains(prepare_error(folder, {folder.write("tail.gz", packed_gz + "extra")}),
                 "something that is not gzip follows at byte"));
  CHECK(contains(prepare_error(folder, {folder.write("none.gz", gzip(""))}), "holds no text"));
}

TEST_CASE("prepare: JSON lines: escapes, other members, blank lines, a field of another name") {
  const Folder folder;
  const std::string json =
      "{\"text\": \"a\\n\\\"b\\\" \\u00e9\\ud83d\\ude00 \\/\"}\n\n  \r\n"
      "{\"meta\": {\"text\": \"no\", \"n\": [1, {\"text\": 2}]}, \"text\": \"second\", \"x\": null}\r\n"
      "{\"text\": \"\"}\n"
      "{\"text\": \"half \\ud83d \\\\ud83d\"}";
  const Prepared prepared = prepare_text(folder, {folder.write("a.jsonl", json)});
  CHECK(prepared.train == "a\n\"b\" \xC3\xA9\xF0\x9F\x98\x80 /|second|half \xEF\xBF\xBD \\ud83d|");
  CHECK(prepared.summary.train_documents == 3);
  CHECK(prepared.summary.replaced_bytes == 1);
  CHECK(prepare_text(folder, {folder.write("noending", "{\"text\": \"sniffed\"}\n")}).train == "sniffed|");
  CHECK(prepare_text(folder, {folder.write("notjson", "{ x = 1 }\n")}).train == "{ x = 1 }\n|");
  CHECK(prepare_text(folder, {folder.write("b.ndjson", "{\"body\": \"b\"}\n")},
                     {.valid_fraction = 0, .text_field = "body"})
            .train == "b|");

  const auto second_line = [&](const std::string& line) {
    return prepare_error(folder, {folder.write("bad.jsonl", "{\"text\": \"fine\"}\n" + line + "\n")});
  };
  const std::string at = folder / "bad.jsonl:2: the line ";
  CHECK(contains(second_line("{\"text\": \"x\""), at + "is not valid JSON at column"));
  CHECK(contains(second_line("{\"txt\": \"x\"}"), at + "has no \"text\""));
  CHECK(contains(second_line("{\"text\": 5}"), at + "has a number as \"text\""));
  CHECK(contains(second_line("{\"text\": [\"x\"]}"), at + "has a list as \"text\""));
  CHECK(contains(second_line("{\"text\": {\"a\": 1}}"), at + "has an object as \"text\""));
  CHECK(contains(second_line("{\"text\": \"a\", \"text\": \"b\"}"), at + "has \"text\" twice"));
  CHECK(contains(second_line("[\"text\"]"), at + "is a list"));
  CHECK(contains(second_line("\"text\""), at + "is a text"));
  CHECK(contains(second_line("{\"text\": \"x\"} trailing"), at + "is not valid JSON"));
  CHECK(contains(second_line(std::string(100000, '[')), at + "is a list"));
  CHECK(contains(second_line("{\"a\": " + std::string(100, '[')), at + "is not valid JSON"));
  CHECK(contains(second_line("{\"a\": " + std::string(100000, '[')), at + "is nested deeper than 512"));
  const std::string huge = folder.write("huge.jsonl", "{\"text\": \"" + std::string(300000, 'x') + "\"}\n");
  CHECK(prepare_text(folder, {huge}, {.valid_fraction = 0, .block_bytes = 1}).train.size() == 300001);
  CHECK(contains(error_of([&] {
                   prepare_text(folder, {huge}, {.valid_fraction = 0, .block_bytes = 1, .longest_json_line = 200000});
                 }).second,
                 "huge.jsonl:1: the line is longer than 200000 bytes"));
}

TEST_CASE("prepare: an error names the first bad line at any number of threads") {
  const Folder folder;
  std::string json;
  for (int i = 1; i <= 20000; ++i)
    json += i == 7000 || i == 7001 || i == 15000 ? "{\"text\": 1}\n" : "{\"text\": \"" + std::string(30, 'x') + "\"}\n";
  const std::string input = folder.write("a.jsonl", json);
  for (const int threads : {1, 2, 8})
    CHECK(contains(error_of([&] {
                     prepare_text(folder, {input}, {.valid_fraction = 0, .threads = threads, .block_bytes = 1});
                   }).second,
                   "a.jsonl:7000: "));
}

TEST_CASE("prepare: folders are read whole, in order, without hidden files") {
  const Folder folder;
  folder.write("in/b.txt", "b");
  folder.write("in/a/z.md", "z");
  folder.write("in/.git/config", "no");
  folder.write("in/.hidden", "no");
  folder.write("in/empty.txt", "");
  const Prepared prepared = prepare_text(folder, {folder / "in"});
  CHECK(prepared.train == "z|b|");
  CHECK(prepared.summary.files == 2);
  CHECK(contains(error_of([&] {
                   prepare_text(folder, {folder / "in", folder / "in/b.txt"});
                 }).second,
                 "b.txt: is given twice"));
}

TEST_CASE("prepare: text that is not UTF-8 is repaired, counted and located; a byte order mark is dropped") {
  const Folder folder;
  const std::string good = prose(10, 150000);
  const Prepared prepared = prepare_text(
      folder, {folder.write("a.txt", good), folder.write("b.txt", "\xEF\xBB\xBF" + good + "x\xFFy\xC3(\n")});
  CHECK(prepared.train == good + "|" + good + "x\xEF\xBF\xBDy\xEF\xBF\xBD(\n|");
  CHECK(prepared.summary.replaced_bytes == 2);
  REQUIRE(prepared.summary.warnings.size() == 1);
  CHECK(contains(prepared.summary.warnings[0], "2 bytes are not UTF-8 and were replaced by U+FFFD; the first is in " +
                                                   (folder / "b.txt") + ", byte " +
                                                   std::to_string(3 + good.size() + 1)));
}

TEST_CASE("prepare: missing, empty, binary and useless input is refused by name, and leaves nothing") {
  const Folder folder;
  CHECK(contains(prepare_error(folder, {}), "no text is given"));
  CHECK(contains(prepare_error(folder, {folder / "no.txt"}), "no.txt: cannot open: No such file"));
  CHECK(contains(prepare_error(folder, {folder.write("zero.txt", "")}), "zero.txt: is empty"));
  CHECK(contains(prepare_error(folder, {folder.write("bom.txt", "\xEF\xBB\xBF")}), "holds no text"));
  const std::string binary = prose(11, 300000) + std::string("\0\1", 2);
  CHECK(contains(prepare_error(folder, {folder.write("a.out", binary)}),
                 "a.out: has a NUL byte at offset " + std::to_string(binary.size() - 2)));
  fs::create_directories(folder / "hollow");
  CHECK(contains(prepare_error(folder, {folder / "hollow"}), "hollow: the folder holds no files"));
  folder.write("hollow/x", "");
  CHECK(contains(prepare_error(folder, {folder / "hollow"}), "all files in the folder are empty"));
  CHECK(contains(prepare_error(folder, {folder.write("sep.txt", "<|endoftext|>\n<|endoftext|>\n")}),
                 "sep.txt: holds no text"));
}

TEST_CASE("prepare: wrong options are refused with what is allowed") {
  const Folder folder;
  const std::string input = folder.write("a.txt", "some text");
  const auto error_with = [&](PrepareOptions options) {
    options.inputs = {input};
    options.out = folder / "out";
    const auto [code, message] = error_of([&] { prepare(options); });
    CHECK(code == 2);
    CHECK_FALSE(fs::exists(folder / "out"));
    return message;
  };
  CHECK(contains(error_with({}), "no tokenizer is given"));
  CHECK(contains(error_with({.vocab_size = 500, .tokenizer = "x.model"}), "both a vocab size and a tokenizer"));
  CHECK(contains(error_with({.tokenizer = folder / "no.model"}), "no.model: cannot open"));
  CHECK(contains(error_with({.tokenizer = input}), "a.txt: is not a SentencePiece model"));
  CHECK(contains(error_with({.vocab_size = 500, .valid_fraction = 1}), "valid fraction is 1"));
  CHECK(contains(error_with({.vocab_size = 500, .valid_fraction = -0.1}), "valid fraction is -0.1"));
  CHECK(contains(error_with({.vocab_size = 500, .valid_fraction = std::nan("")}), "valid fraction is nan"));
  CHECK(contains(error_with({.vocab_size = 5000}), "expected at most"));
}

TEST_CASE("prepare: validation takes whole documents where there are many, none of them twice") {
  const Folder folder;
  std::string json;
  for (int i = 0; i < 2000; ++i) json += "{\"text\": \"<" + std::to_string(i) + "> ka to mi re\"}\n";
  const Prepared prepared = prepare_text(folder, {folder.write("a.jsonl", json)}, {.valid_fraction = 0.05});
  CHECK(prepared.summary.train_documents + prepared.summary.valid_documents == 2000);
  CHECK(prepared.summary.valid_documents > 70);
  CHECK(prepared.summary.valid_documents < 130);
  std::set<std::string> seen;
  for (const std::string& text : {prepared.train, prepared.valid})
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('|', at);
      CHECK(seen.insert(text.substr(at, end - at)).second);
      at = end + 1;
    }
  CHECK(seen.size() == 2000);
}

TEST_CASE("prepare: validation takes the end of a single text, or of its stretches, at line borders, losing nothing") {
  const Folder folder;
  for (const auto& [bytes, fraction] : {std::pair{20000, 0.1}, {3000000, 0.1}, {500000, 0.5}}) {
    const std::string text = prose(12, static_cast<std::size_t>(bytes));
    const Prepared prepared = prepare_text(folder, {folder.write("a.txt", text)}, {.valid_fraction = fraction});
    const double share = static_cast<double>(prepared.summary.valid_tokens) /
                         static_cast<double>(prepared.summary.valid_tokens + prepared.summary.train_tokens);
    CHECK(std::abs(share / fraction - 1) < 0.1);
    CHECK(prepared.summary.valid_documents ==
          std::clamp<std::int64_t>(static_cast<std::int64_t>(bytes * fraction / 65536), 1, 16));
    // Taking pieces from the two in turn gives the text back.
    std::string joined, train = prepared.train, valid = prepared.valid;
    while (!train.empty()) {
      for (std::string* part : {&train, &valid}) {
        const std::size_t end = part->find('|');
        if (end == std::string::npos) continue;
        joined += part->substr(0, end);
        part->erase(0, end + 1);
      }
    }
    CHECK(joined == text);
    CHECK(valid.empty());
  }
  // One long line: cut at a space.
  std::string line;
  while (line.size() < 50000) line += "ka to mi ";
  const Prepared prepared = prepare_text(folder, {folder.write("b.txt", line)}, {.valid_fraction = 0.1});
  CHECK(prepared.valid.size() > 4900);
  CHECK(prepared.valid.size() < 5100);
  CHECK(prepared.valid[0] == ' ');
  // Too little text for any: said so.
  const Prepared little = prepare_text(folder, {folder.write("c.txt", "one line\n")}, {.valid_fraction = 0.1});
  CHECK(little.valid.empty());
  REQUIRE(little.summary.warnings.size() == 1);
  CHECK(contains(little.summary.warnings[0], "no text was left for validation"));
}

TEST_CASE("prepare: prepared data is replaced only when asked, and foreign folders never") {
  const Folder folder;
  const std::string input = folder.write("a.txt", prose(13, 50000)), model = folder.write("m.model", shared_model());
  const PrepareOptions options{.inputs = {input}, .out = folder / "out", .tokenizer = model};
  prepare(options);
  const auto before = contents(folder / "out");
  const auto [code, message] = error_of([&] { prepare(options); });
  CHECK(code == 2);
  CHECK(contains(message, "out: holds prepared data already; choose another folder, or pass --overwrite"));
  CHECK(contents(folder / "out") == before);
  // A failure while overwriting leaves the old data.
  PrepareOptions bad = options;
  bad.overwrite = true;
  bad.inputs.push_back(folder / "no.txt");
  CHECK(error_of([&] { prepare(bad); }).first == 2);
  CHECK(contents(folder / "out") == before);
  // Fewer shards than before leave no stale ones.
  PrepareOptions small = options;
  small.overwrite = true;
  small.shard_tokens = 1000;
  prepare(small);
  CHECK(contents(folder / "out").size() > 5);
  PrepareOptions again = options;
  again.overwrite = true;
  prepare(again);
  CHECK(contents(folder / "out") == before);

  PrepareOptions foreign = options;
  foreign.overwrite = true;
  foreign.out = folder / "home";
  folder.write("home/thesis.tex", "x");
  CHECK(contains(error_of([&] { prepare(foreign); }).second, "holds thesis.tex, which `bittern prepare` did not make"));
  foreign.out = input;
  CHECK(contains(error_of([&] { prepare(foreign); }).second, "is a file; expected a folder"));
  // What a killed run left is no obstacle.
  PrepareOptions killed = options;
  killed.out = folder / "killed";
  folder.write("killed/.preparing/train_00000.bin", "half");
  prepare(killed);
  CHECK(contents(folder / "killed") == before);
}

TEST_CASE("prepare: stopped at any moment it leaves nothing that looks complete") {
  const Folder folder;
  const std::string input = folder.write("a.txt", prose(14, 900000));
  int calls = 0;
  const PrepareOptions options{.inputs = {input},
                               .out = folder / "out",
                               .tokenizer = folder.write("m.model", shared_model()),
                               .threads = 2,
                               .block_bytes = 1};
  prepare(options, [&](const PrepareProgress&) { ++calls; });
  CHECK(calls > 10);
  fs::remove_all(folder / "out");
  for (int at = 1; at <= calls; at += 3) {
    std::atomic<bool> stop = false;
    PrepareOptions stopped = options;
    stopped.stop = [&] { return stop.load(); };
    int seen = 0;
    const auto [code, message] =
        error_of([&] { prepare(stopped, [&](const PrepareProgress&) { stop = ++seen >= at; }); });
    if (seen < calls) CHECK(code == 75);
    if (code != 0) CHECK_FALSE(fs::exists(folder / "out"));
    fs::remove_all(folder / "out");
  }
}

TEST_CASE(
    "prepare: killed at any moment it leaves nothing that looks complete, and the next run is as if nothing was") {
  const Folder folder;
  const PrepareOptions options{.inputs = {folder.write("a.txt", prose(17, 2000000))},
                               .out = folder / "out",
                               .tokenizer = folder.write("m.model", shared_model()),
                               .threads = 2,
                               .shard_tokens = 100000};
  prepare(options);
  const auto expected = contents(folder / "out");
  fs::remove_all(folder / "out");
  int killed = 0;
  for (int milliseconds = 1; milliseconds < 400; milliseconds += milliseconds) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        prepare(options);
      } catch (...) {
      }
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(milliseconds) * 1000);
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    killed += WIFSIGNALED(status);
    if (is_prepared_folder(folder / "out")) {
      TokenStream::open(folder / "out").verify_checksums();
      break;
    }
  }
  CHECK(killed > 0);
  PrepareOptions again = options;
  again.overwrite = true;
  prepare(again);
  CHECK(contents(folder / "out") == expected);
}

TEST_CASE("prepare: two runs do not write to one folder") {
  const Folder folder;
  const PrepareOptions options{.inputs = {folder.write("a.txt", prose(18, 20000))},
                               .out = folder / "out",
                               .tokenizer = folder.write("m.model", shared_model())};
  std::string message;
  prepare(options, [&](const PrepareProgress&) { message = error_of([&] { prepare(options); }).second; });
  CHECK(contains(message, "out: another `bittern prepare` is writing there"));
  TokenStream::open(folder / "out").verify_checksums();
}

TEST_CASE("prepare: progress rises to the whole input") {
  const Folder folder;
  const std::string input = folder.write("a.txt.gz", gzip(prose(15, 500000)));
  std::map<std::string, std::int64_t> last;
  std::int64_t of = 0, tokens = 0;
  const PrepareSummary summary =
      prepare({.inputs = {input}, .out = folder / "out", .vocab_size = 400}, [&](const PrepareProgress& progress) {
        CHECK(progress.done >= last[std::string(progress.stage)]);
        CHECK(progress.done <= progress.of);
        last[std::string(progress.stage)] = progress.done;
        of = progress.of;
        tokens = progress.tokens;
      });
  CHECK(last.size() == 3);
  CHECK(last["reading"] == of);
  CHECK(last["encoding"] == of);
  CHECK(of == summary.input_bytes);
  CHECK(tokens == summary.train_tokens + summary.valid_tokens);
}

TEST_CASE("prepare: a full disk is a failure that leaves no half file") {
  const Folder folder;
  const std::string input = folder.write("a.txt", prose(16, 400000));
  const PrepareOptions options{
      .inputs = {input}, .out = folder / "out", .tokenizer = folder.write("m.model", shared_model())};
  // A limit on the size of a file stands in for a disk that fills while writing.
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  struct rlimit small = before;
  small.rlim_cur = 50000;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto [code, message] = error_of([&] { prepare(options); });
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(code == 1);
  CHECK(contains(message, "cannot write: File too large"));
  CHECK_FALSE(fs::exists(folder / "out"));
}
