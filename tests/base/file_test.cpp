// Files: exact reads, atomic writes, clear errors.
#include "bittern/file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <vector>

#include "bittern/error.h"
#include "catch.h"
#include "temporary_folder.h"

namespace fs = std::filesystem;
using namespace bittern;

namespace {

using Folder = TemporaryFolder;

template <typename Action>
std::pair<int, std::string> error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return {static_cast<int>(error.exit_code()), error.what()};
  }
  return {0, ""};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("file: what was written atomically is read back, and no .tmp is left") {
  const Folder folder;
  const std::string path = folder / "a.bin";
  write_file_atomically(path, "first");
  write_file_atomically(path, std::string("sec\0ond", 7));
  CHECK(read_whole_file(path, 100, "a test file") == std::string("sec\0ond", 7));
  CHECK_FALSE(fs::exists(path + ".tmp"));
  CHECK(File::open(path).size() == 7);
  std::byte piece[3];
  File::open(path).read(4, piece);
  CHECK(static_cast<char>(piece[0]) == 'o');
}

TEST_CASE("file: an atomic file that is not committed leaves the old one and nothing else") {
  const Folder folder;
  const std::string path = folder / "a.bin";
  write_file_atomically(path, "old");
  {
    AtomicFile file(path);
    file.write(as_bytes("half"));
    CHECK(fs::exists(path + ".tmp"));
  }
  CHECK_FALSE(fs::exists(path + ".tmp"));
  CHECK(read_whole_file(path, 100, "a test file") == "old");
}

TEST_CASE("file: write_at replaces a header after the body was appended") {
  const Folder folder;
  File file = File::create(folder / "a");
  file.write(as_bytes("????body"));
  file.write_at(0, as_bytes("head"));
  file.write(as_bytes("tail"));
  file.close();
  CHECK(read_whole_file(folder / "a", 100, "a test file") == "headbodytail");
}

TEST_CASE("file: errors name the file, the reason and the remedy") {
  const Folder folder;
  write_file_atomically(folder / "short", "abc");
  std::vector<std::byte> four(4);

  const auto missing = error_of([&] { File::open(folder / "nothing"); });
  CHECK(missing.first == 2);
  CHECK(missing.second == (folder / "nothing") + ": cannot open: No such file or directory; check the path");
  CHECK(contains(error_of([&] { File::open(folder.path); }).second, "give a file, not a folder"));

  const auto truncated = error_of([&] { File::open(folder / "short").read(1, four); });
  CHECK(truncated.first == 2);
  CHECK(contains(truncated.second, "ends at byte 3, expected 2 more; the file is truncated"));
  CHECK(error_of([&] { File::open(folder / "short").read(INT64_MAX - 8, four); }).first == 2);

  const auto big = error_of([&] { read_whole_file(folder / "short", 2, "a note"); });
  CHECK(big.first == 2);
  CHECK(contains(big.second, "has 3 bytes; expected a note of at most 2 bytes"));

  CHECK(error_of([&] { write_file_atomically(folder / "no/such/folder", "x"); }).first == 1);
  CHECK(contains(error_of([&] { make_directories((folder / "short") + "/sub"); }).second, "cannot create the folder"));

  ::mkfifo((folder / "fifo").c_str(), 0600);
  CHECK(contains(error_of([&] { File::open(folder / "fifo"); }).second, "not a regular file"));
}

TEST_CASE("file: a full disk is a failure with its reason and leaves the old file whole") {
  const auto full = error_of([&] { File::create("/dev/full").write(as_bytes("x")); });
  CHECK(full.first == 1);
  CHECK(contains(full.second, "No space left on device; free some space"));

  // A limit on the size of a file stands in for a disk that fills while writing.
  const Folder folder;
  write_file_atomically(folder / "a", "old");
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  struct rlimit small = before;
  small.rlim_cur = 4096;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto limited = error_of([&] { write_file_atomically(folder / "a", std::string(100000, 'x')); });
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(limited.first == 1);
  CHECK(contains(limited.second, "File too large"));
  CHECK_FALSE(fs::exists((folder / "a") + ".tmp"));
  CHECK(read_whole_file(folder / "a", 100, "a test file") == "old");
}

TEST_CASE("file: offsets are 64-bit") {
  const Folder folder;
  const std::int64_t far = (std::int64_t{5} << 30) + 3;  // sparse: takes one block of the disk
  {
    File file = File::create(folder / "sparse");
    file.write_at(far, as_bytes("end"));
  }
  const File file = File::open(folder / "sparse");
  CHECK(file.size() == far + 3);
  std::byte tail[3];
  file.read(far, tail);
  CHECK(static_cast<char>(tail[2]) == 'd');
}

TEST_CASE("checksum: XXH3-64, whatever the cuts") {
  CHECK(checksum_text(checksum(as_bytes(""))) == "2d06800538d394c2");  // published test value of XXH3-64, seed 0
  std::string text;
  for (int i = 0; i < 3000; ++i) text += static_cast<char>(i * 7);
  for (const std::size_t cut : {1, 17, 240, 1024}) {
    Checksum sum;
    for (std::size_t at = 0; at < text.size(); at += cut) sum.update(as_bytes(std::string_view(text).substr(at, cut)));
    CHECK(sum.digest() == checksum(as_bytes(text)));
  }
  const Folder folder;
  write_file_atomically(folder / "a", text);
  CHECK(checksum_file(folder / "a") == checksum(as_bytes(text)));
}
