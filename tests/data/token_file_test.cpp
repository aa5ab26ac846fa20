// Token files: what is written is read, from every format, and nothing hostile gets through.
#include "bittern/token_file.h"

#include <sys/resource.h>

#include <nlohmann/json.hpp>

#include "catch.h"
#include "data/token_files.h"

using namespace bittern;
using namespace bittern_test;

namespace {

Ids all_of(const TokenStream& stream) {
  Ids ids(static_cast<std::size_t>(stream.token_count()));
  stream.read(0, ids);
  return ids;
}

std::string open_error(const std::string& path) {
  const auto [code, message] = error_of([&] { TokenStream::open(path); });
  CHECK(code == 2);
  return message;
}

Ids joined(const std::vector<Ids>& documents) {
  Ids all;
  for (const Ids& document : documents) {
    all.insert(all.end(), document.begin(), document.end());
    all.push_back(2);
  }
  return all;
}

}  // namespace

TEST_CASE("shards: documents come back with EOS after each, at every width and shard size") {
  const Folder folder;
  for (const std::int64_t vocab : {300, 65536, 65537, 262144}) {
    const std::vector<Ids> documents = {counting(10, 300),
                                        {},
                                        counting(1, 300),
                                        {static_cast<std::int32_t>(vocab - 1)},
                                        counting(60, static_cast<std::int32_t>(vocab))};
    std::vector<Ids> kept = documents;
    kept.erase(kept.begin() + 1);  // an empty document leaves nothing
    for (const std::int64_t shard : {5, 32, 1000}) {
      const std::string path = write_prepared(folder, "d", documents, vocab, shard);
      const TokenStream stream = TokenStream::open(path);
      CHECK(all_of(stream) == joined(kept));
      CHECK(stream.vocab_size() == vocab);
      CHECK(stream.eos() == 2);
      CHECK(stream.bytes_per_token() == 3.0);
      CHECK(stream.tokenizer_path() == path + "/tokenizer.model");
      CHECK(static_cast<std::int64_t>(stream.parts().size()) == (stream.token_count() + shard - 1) / shard);
      stream.verify_checksums();
      CHECK(all_of(TokenStream::open(path, Split::valid)) == joined({documents[0]}));
      std::filesystem::remove_all(path);
    }
  }
  CHECK(bytes_per_id(65536) == 2);
  CHECK(bytes_per_id(65537) == 4);
}

TEST_CASE("shards: the table of documents holds the start of each that begins in the shard") {
  const Folder folder;
  const std::string path = write_prepared(folder, "d", {counting(4, 9), counting(4, 9), counting(1, 9)}, 300, 8);
  // 12 tokens: documents begin at 0 and 5 in the first shard of 8, at 2 in the second.
  const std::string first = read(path + "/train_00000.bin"), second = read(path + "/train_00001.bin");
  std::string table;
  put(table, std::uint64_t{0});
  put(table, std::uint64_t{5});
  CHECK(first.substr(first.size() - 16) == table);
  CHECK(first.size() == 64 + 16 + 16);
  CHECK(second.size() == 64 + 8 + 8);
  CHECK(second[second.size() - 8] == 2);
  CHECK(TokenStream::open(path + "/train_00001.bin").token_count() == 4);
}

TEST_CASE("llm.c: .bin files, one or a pattern, are read in place") {
  const Folder folder;
  const Ids a = counting(100, 50257), b = counting(7, 50257), c = counting(50, 128000);
  folder.write("web_train_000000.bin", llmc_bytes(a));
  folder.write("web_train_000001.bin", llmc_bytes(b));
  folder.write("web_val_000000.bin", llmc_bytes({5, 6}));
  CHECK(all_of(TokenStream::open(folder / "web_train_000001.bin")) == b);
  Ids both = a;
  both.insert(both.end(), b.begin(), b.end());
  const TokenStream stream = TokenStream::open(folder / "web_train_*.bin");
  CHECK(all_of(stream) == both);
  CHECK(stream.vocab_size() == 0);
  CHECK(stream.eos() == -1);
  folder.write("llama3.bin", llmc_bytes(c, 20240801, 7));
  CHECK(all_of(TokenStream::open(folder / "llama3.bin")) == c);

  CHECK(contains(open_error(folder.write("v2.bin", llmc_bytes(a, 20240520, 2))),
                 "v2.bin: llm.c version is 2; expected 1"));
  CHECK(contains(open_error(folder.write("cut.bin", llmc_bytes(a).substr(0, 1100))),
                 "cut.bin: the header says 100 tokens of 2 bytes"));
  CHECK(contains(open_error(folder.write("head.bin", llmc_bytes(a).substr(0, 20))),
                 "head.bin: has 20 bytes; expected llm.c's header"));
  std::string negative = llmc_bytes(a);
  negative[11] = '\x80';
  CHECK(contains(open_error(folder.write("neg.bin", negative)), "does not fit"));
}

TEST_CASE("Megatron: a prefix, or either of its files, is read in place, in every integer type") {
  const Folder folder;
  const Ids ids = counting(60, 120);
  const std::vector<std::int32_t> lengths = {10, 0, 30, 20};
  const std::tuple<std::uint8_t, std::int64_t, std::string> kinds[] = {{1, 1, packed<std::uint8_t>(ids)},
                                                                       {3, 2, packed<std::int16_t>(ids)},
                                                                       {4, 4, packed<std::int32_t>(ids)},
                                                                       {5, 8, packed<std::int64_t>(ids)},
                                                                       {8, 2, packed<std::uint16_t>(ids)}};
  for (const auto& [code, width, bytes] : kinds) {
    folder.write("corpus.idx", megatron_index(lengths, code, width));
    folder.write("corpus.bin", bytes);
    CHECK(all_of(TokenStream::open(folder / "corpus")) == ids);
    CHECK(all_of(TokenStream::open(folder / "corpus.bin")) == ids);
    CHECK(all_of(TokenStream::open(folder / "corpus.idx")) == ids);
  }
  const std::string good = megatron_index(lengths, 8, 2);
  const auto error_with = [&](std::size_t at, const std::string& bytes) {
    std::string bad = good;
    bad.replace(at, bytes.size(), bytes);
    folder.write("corpus.idx", bad);
    return open_error(folder / "corpus");
  };
  const std::string huge("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 8), most("\0\0\0\0\0\0\0\x80", 8);
  CHECK(contains(error_with(0, "X"), "is not a Megatron index"));
  CHECK(contains(error_with(9, "\x02"), "Megatron index version is 2; expected 1"));
  CHECK(contains(error_with(17, "\x06"), "dtype code is 6"));
  CHECK(contains(error_with(18, huge), "does not fit a file of"));
  CHECK(contains(error_with(18, most), "does not fit a file of"));
  CHECK(contains(error_with(26, huge), "does not fit a file of"));
  CHECK(contains(error_with(34, "\x0B"), "sequence 1 begins at byte 20; expected 22"));
  CHECK(contains(error_with(34, std::string("\xFF\xFF\xFF\x7F", 4)), "which lie beyond the 120 bytes"));
  CHECK(contains(error_with(34, "\xFF\xFF\xFF\xFF"), "sequence 0 has -1 tokens"));
  CHECK(contains(error_with(34 + 16 + 8, huge), "sequence 1 begins at byte 9223372036854775807"));
  CHECK(contains(error_with(34 + 16 + 32 + 8, "\x09"), "document 1 begins at sequence 9 of 4"));
  folder.write("corpus.idx", good.substr(0, good.size() - 1));
  CHECK(contains(open_error(folder / "corpus"), "truncated or damaged"));
  folder.write("corpus.idx", good);
  folder.write("corpus.bin", packed<std::uint16_t>(counting(61, 120)));
  CHECK(contains(open_error(folder / "corpus"), "the files do not belong together"));
  std::filesystem::remove(folder / "corpus.bin");
  CHECK(contains(open_error(folder / "corpus"), "corpus.bin: cannot open"));
}

TEST_CASE("token stream: reads across parts, empty ones included, and refuses ranges outside") {
  const Folder folder;
  folder.write("p0.bin", llmc_bytes(counting(5, 100)));
  folder.write("p1.bin", llmc_bytes({}));
  folder.write("p2.bin", llmc_bytes(counting(20000, 30000)));
  const TokenStream stream = TokenStream::open(folder / "p?.bin");
  const Ids all = all_of(stream);
  for (const std::int64_t from : {0, 3, 4, 5, 6, 100, 19000}) {
    Ids piece(1000);
    stream.read(from, piece);
    CHECK(piece == Ids(all.begin() + from, all.begin() + from + 1000));
  }
  Ids none;
  stream.read(20005, none);
  Ids two(2);
  CHECK(error_of([&] { stream.read(20004, two); }).first == 1);
  CHECK(error_of([&] { stream.read(-1, two); }).first == 1);
  CHECK(error_of([&] { stream.read(INT64_MAX, two); }).first == 1);
}

TEST_CASE("token stream: ids outside the vocabulary are named with file, place, id and vocabulary") {
  const Folder folder;
  const std::string path = folder.write("a.bin", llmc_bytes({1, 2, 60000, 3}));
  TokenStream stream = TokenStream::open(path);
  Ids ids(4);
  stream.read(0, ids);
  stream.limit_vocabulary(50257);
  const auto [code, message] = error_of([&] { stream.read(1, std::span(ids).first(3)); });
  CHECK(code == 2);
  CHECK(contains(message, path + ": token 2 is 60000; expected an id below the vocabulary size 50257"));

  folder.write("m.idx", megatron_index({2}, 5, 8));
  std::string wide;
  put(wide, std::int64_t{5});
  put(wide, std::int64_t{1} << 40);
  folder.write("m.bin", wide);
  CHECK(contains(error_of([&] { all_of(TokenStream::open(folder / "m")); }).second, "token 1 is 1099511627776"));

  TokenStream prepared = TokenStream::open(write_prepared(folder, "d", {counting(9, 9)}, 600, 100));
  prepared.limit_vocabulary(1000);
  CHECK(contains(error_of([&] { prepared.limit_vocabulary(500); }).second,
                 "its vocabulary has 600 ids, but the model's vocab_size is 500"));
}

TEST_CASE("token stream: the fingerprint changes with the data and not with the folder's place") {
  const Folder folder;
  const std::string a = write_prepared(folder, "a", {counting(90, 9)}, 600, 40),
                    b = write_prepared(folder, "b", {counting(90, 9)}, 600, 40);
  CHECK(TokenStream::open(a).fingerprint() == TokenStream::open(b).fingerprint());
  const std::string c = write_prepared(folder, "c", {counting(90, 8)}, 600, 40);
  CHECK(TokenStream::open(a).fingerprint() != TokenStream::open(c).fingerprint());
  CHECK(TokenStream::open(a).fingerprint() != TokenStream::open(a, Split::valid).fingerprint());
  folder.write("x/l.bin", llmc_bytes({1, 2, 3}));
  folder.write("y/l.bin", llmc_bytes({1, 2, 4}));
  CHECK(TokenStream::open(folder / "x/l.bin").fingerprint() != TokenStream::open(folder / "y/l.bin").fingerprint());
}

TEST_CASE("token stream: missing, empty, foreign, truncated and flipped files get one clear sentence") {
  const Folder folder;
  CHECK(contains(open_error(folder / "nothing"), "no such file; expected a folder made by"));
  CHECK(contains(open_error(folder / "no*.bin"), "no such file"));
  CHECK(contains(open_error(folder.path), "has no data.json"));
  CHECK(contains(open_error(folder.write("zero.bin", "")), "zero.bin: is empty"));
  CHECK(contains(open_error(folder.write("text.txt", "once upon a time")), "run `bittern prepare` first"));

  const std::string path = write_prepared(folder, "d", {counting(90, 9)}, 600, 1000), shard = path + "/train_00000.bin";
  const std::string good = read(shard);
  const auto open_with = [&](const std::string& bytes) {
    write_file_atomically(shard, bytes);
    return open_error(path);
  };
  CHECK(contains(open_with(""), "has 0 bytes; expected a header of 64"));
  CHECK(contains(open_with(good.substr(0, good.size() - 1)), "does not fit a file of"));
  CHECK(contains(open_with(good + "x"), "does not fit a file of"));
  CHECK(contains(open_with(llmc_bytes(counting(90, 9))), "is not a token shard"));
  std::string version = good;
  version[8] = 2;
  CHECK(contains(open_with(version), "version is 2; this program reads version 1"));
  // A payload bit is found by its checksum, wherever it is.
  for (const std::size_t at : {std::size_t{64}, std::size_t{100}, good.size() - 1}) {
    std::string flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    write_file_atomically(shard, flipped);
    const auto [code, message] = error_of([&] { TokenStream::open(path).verify_checksums(); });
    CHECK(code == 2);
    CHECK(contains(message, shard + ": checksum is "));
  }
  std::filesystem::remove(shard);
  CHECK(contains(open_error(path), "train_00000.bin: cannot open: No such file"));
}

TEST_CASE("token stream: a tokenizer that is not the data's is refused; data without one has none") {
  const Folder folder;
  const std::string path = write_prepared(folder, "d", {counting(9, 9)}, 600, 100);
  folder.write("d/tokenizer.model", "another");
  CHECK(contains(open_error(path), "d/tokenizer.model: checksum is "));
  std::filesystem::remove(path + "/tokenizer.model");
  CHECK(TokenStream::open(path).tokenizer_path().empty());
}

TEST_CASE("token stream: a header that lies, with a checksum that fits it, is refused") {
  const Folder folder;
  const Ids ids = counting(100, 9);
  for (const auto& [tokens, documents, width] :
       std::vector<std::tuple<std::int64_t, std::int64_t, std::uint32_t>>{{INT64_MAX, 0, 2},
                                                                          {INT64_MIN, 0, 2},
                                                                          {-1, 0, 2},
                                                                          {100, INT64_MAX, 2},
                                                                          {100, -1, 2},
                                                                          {std::int64_t{1} << 62, 0, 4},
                                                                          {101, 0, 2},
                                                                          {100, 1, 2},
                                                                          {100, 0, 4},
                                                                          {100, 0, 3},
                                                                          {100, 0, 0},
                                                                          {0, 25, 2}}) {
    const auto header = encode_shard_header(
        {.bytes_per_id = width, .tokens = tokens, .documents = documents, .vocab_size = 600, .eos = 2});
    std::string bytes(reinterpret_cast<const char*>(header.data()), header.size());
    CHECK(contains(open_error(folder.write("lie.bin", bytes + packed<std::uint16_t>(ids))),
                   "does not fit a file of 264 bytes"));
  }
}

TEST_CASE("token stream: any mutation of a header or manifest is refused or harmless, and never crashes") {
  const Folder folder;
  const std::string prepared = write_prepared(folder, "d", {counting(50, 9), counting(30, 9)}, 600, 64);
  folder.write("m.bin", packed<std::uint16_t>(counting(60, 120)));
  folder.write("m.idx", megatron_index({10, 30, 20}, 8, 2));
  folder.write("l.bin", llmc_bytes(counting(60, 120)));
  const std::pair<std::string, std::string> targets[] = {{prepared + "/train_00000.bin", prepared},
                                                         {prepared + "/data.json", prepared},
                                                         {folder / "m.idx", folder / "m"},
                                                         {folder / "l.bin", folder / "l.bin"}};
  Random random(3);
  int refused = 0;
  for (const auto& [file, path] : targets) {
    const std::string good = read(file);
    const std::size_t front = file.ends_with("json") ? good.size() : std::min<std::size_t>(good.size(), 140);
    for (int i = 0; i < 1000; ++i) {
      std::string bad = good;
      switch (random.below(4)) {
        case 0:
          bad.resize(random.below(good.size()));
          break;
        case 1:
          bad[random.below(front)] ^= static_cast<char>(1 << random.below(8));
          break;
        case 2:
          for (int n = 0; n < 8; ++n)
            bad[(random.below(front - 8) & ~7u) + static_cast<std::size_t>(n)] = static_cast<char>(random.next());
          break;
        default:
          for (std::uint32_t n = 1 + random.below(6); n > 0; --n)
            bad[random.below(front)] = static_cast<char>(random.next());
      }
      {
        std::filesystem::remove(file);  // a new file each time: truncating one makes ext4 wait for the disk
        File out = File::create(file);
        out.write(as_bytes(bad));
      }
      const auto [code, message] = error_of([&] {
        const TokenStream stream = TokenStream::open(path);
        if (stream.token_count() < 100000) all_of(stream);
        stream.verify_checksums();
      });
      CHECK((code == 0 || code == 2));
      CHECK((code == 0 || message.starts_with(folder.path)));
      refused += code == 2;
    }
    write_file_atomically(file, good);
    TokenStream::open(path).verify_checksums();
  }
  CHECK(refused > 3000);
}

TEST_CASE("data.json: a folder of version 1 is read as it is; a later version than this program's is refused") {
  const Folder folder;
  const std::string path = write_prepared(folder, "d", {counting(50, 9)}, 600, 1000);
  const TokenStream now = TokenStream::open(path);
  CHECK(now.tokenizer_checksum() == checksum_text(checksum(as_bytes("a model"))));
  const std::string good = read(path + "/data.json");
  CHECK(contains(good, "\"version\": 2"));
  nlohmann::json old = nlohmann::json::parse(good);
  old["version"] = 1;
  for (const char* key : {"split_by", "skipped_lines", "unknown_tokens"}) old.erase(key);
  for (const char* key : {"kind", "unk_id", "pad_id"}) old["tokenizer"].erase(key);
  write_file_atomically(path + "/data.json", old.dump());
  const TokenStream before = TokenStream::open(path);
  CHECK(before.fingerprint() == now.fingerprint());
  CHECK(all_of(before) == all_of(now));
  old["version"] = 2;  // which has them all
  write_file_atomically(path + "/data.json", old.dump());
  CHECK(contains(open_error(path), "data.json: tokenizer.kind is missing"));
  old["version"] = 3;
  write_file_atomically(path + "/data.json", old.dump());
  CHECK(contains(open_error(path), "data.json: version is 3; this program reads versions 1 to 2"));
}

TEST_CASE("token stream: raw ids without a header are named as such, and what is no token file by its name") {
  const Folder folder;
  CHECK(contains(open_error(folder.write("train.bin", packed<std::uint16_t>(counting(1000, 400)))),
                 "train.bin: has no header of bittern's or llm.c's"));
  CHECK(contains(open_error(folder.write("t.bin", "PAR1 and more")), "t.bin: is a Parquet file, no token file"));
}

TEST_CASE("token stream: where a format has no checksum, verifying finds an id outside the vocabulary anywhere") {
  const Folder folder;
  Ids ids = counting(3000000, 400);
  ids[2900000] = 50256;
  TokenStream stream = TokenStream::open(folder.write("gpt2.bin", llmc_bytes(ids)));
  stream.verify_checksums();
  stream.limit_vocabulary(400);
  const auto [code, message] = error_of([&] { stream.verify_checksums(); });
  CHECK(code == 2);
  CHECK(contains(message, "gpt2.bin: token 2900000 is 50256; expected an id below the vocabulary size 400"));
  int asked = 0;
  stream.verify_checksums([&] { return ++asked < 3; });  // given up before it gets there
  CHECK(asked == 3);
}

TEST_CASE("token stream: more files than a process may open unasked") {
  const Folder folder;
  const std::string path = write_prepared(folder, "d", {counting(4000, 9)}, 600, 10);
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  struct rlimit few = before;
  few.rlim_cur = 100;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  const TokenStream stream = TokenStream::open(path);
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(stream.parts().size() > 400);
  CHECK(all_of(stream).size() == 4001);
}

TEST_CASE("data.json: only the names that prepare gives are opened") {
  const Folder folder;
  const std::string path = write_prepared(folder, "d", {counting(50, 9)}, 600, 1000);
  const std::string good = read(path + "/data.json");
  for (const char* name : {"../d/train_00000.bin", "/etc/passwd", "train_00000.bin\\u0000", "valid_00000.bin", ""}) {
    std::string bad = good;
    bad.replace(bad.find("train_00000.bin"), 15, name);
    write_file_atomically(path + "/data.json", bad);
    CHECK(contains(open_error(path), "expected the name that prepare gives"));
  }
  write_file_atomically(path + "/data.json", "[]");
  CHECK(contains(open_error(path), "data.json: data is not an object"));
  write_file_atomically(path + "/data.json", "{\"format\": \"other\"}");
  CHECK(contains(open_error(path), "data.format is \"other\"; expected \"bittern data\""));
}

TEST_CASE("token stream: offsets are 64-bit: a sparse file of more than 5 GiB") {
  const Folder folder;
  constexpr std::int64_t tokens = (std::int64_t{3} << 30) + 5;  // two bytes each: past 2^32 in bytes and in half-words
  {
    File bin = File::create(folder / "big.bin");
    const std::uint16_t last[] = {7, 8, 9};
    bin.write_at(2 * (tokens - 3), std::as_bytes(std::span(last)));
    const std::uint16_t middle = 5;
    bin.write_at(std::int64_t{1} << 32, std::as_bytes(std::span(&middle, 1)));
  }
  folder.write("big.idx", megatron_index({1 << 30, 1 << 30, 1 << 30, 5}, 8, 2));
  const TokenStream stream = TokenStream::open(folder / "big");
  CHECK(stream.token_count() == tokens);
  Ids three(3), one(1);
  stream.read(tokens - 3, three);
  CHECK(three == Ids{7, 8, 9});
  stream.read(std::int64_t{1} << 31, one);
  CHECK(one == Ids{5});
}
