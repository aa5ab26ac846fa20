#include "train/data_check.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "bittern/error.h"
#include "catch.h"
#include "train/tiny_corpus.h"

using namespace bittern;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

/// A file of llm.c's with 100000 ids, all 7 but one.
void write_ids(const std::string& path, std::uint16_t odd) {
  std::vector<std::int32_t> header(256);
  header[0] = 20240520;  // llm.c
  header[1] = 1;
  header[2] = 100000;
  std::vector<std::uint16_t> ids(100000, 7);
  ids[99000] = odd;
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(header.data()), 1024);
  file.write(reinterpret_cast<const char*>(ids.data()), 200000);
}

/// A copy of the corpus whose training shard has one flipped bit.
std::string damaged_corpus(const Scratch& scratch) {
  const std::string data = scratch.path + "/corpus";
  fs::copy(corpus(), data, fs::copy_options::recursive);
  std::fstream shard(data + "/train_00000.bin", std::ios::in | std::ios::out | std::ios::binary);
  shard.seekg(64);
  const char bit = static_cast<char>(shard.get() ^ 1);
  shard.seekp(64);
  shard.put(bit);
  return data;
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("data check: a save waits for what is read soon, and damage stops it") {
  const Scratch scratch("data_check");
  const TokenStream whole = TokenStream::open(corpus(), Split::train),
                    damaged = TokenStream::open(damaged_corpus(scratch), Split::train);
  DataCheck good({&whole}, 60s);
  CHECK_NOTHROW(good.wait_for_save());
  CHECK_NOTHROW(good.look());
  DataCheck bad({&whole, &damaged}, 60s);
  const std::string message = message_of([&] { bad.wait_for_save(); });
  CHECK(message.find("train_00000.bin: checksum is ") != std::string::npos);
  CHECK(message.find("may have learned") == std::string::npos);
}

TEST_CASE("data check: a corpus that takes long holds up no save; damage found later says so") {
  const Scratch scratch("data_check_long");
  const TokenStream whole = TokenStream::open(corpus(), Split::train),
                    damaged = TokenStream::open(damaged_corpus(scratch), Split::train);
  std::vector<const TokenStream*> streams(500, &whole);
  streams.push_back(&damaged);
  DataCheck check(streams, 0ms);
  CHECK_NOTHROW(check.wait_for_save());
  std::string message;
  while ((message = message_of([&] { check.look(); })).empty()) std::this_thread::sleep_for(1ms);
  CHECK(message.find("train_00000.bin: checksum is ") != std::string::npos);
  CHECK(message.find("this run's checkpoints may have learned from it") != std::string::npos);
}

TEST_CASE("data check: a run that ends gives up what is not read") {
  const TokenStream whole = TokenStream::open(corpus(), Split::train);
  const auto start = std::chrono::steady_clock::now();
  { const DataCheck check(std::vector<const TokenStream*>(1000000, &whole), 0ms); }
  CHECK(std::chrono::steady_clock::now() - start < 60s);  // all of it would take minutes
}

TEST_CASE("data check: an id beyond the vocabulary stops the run, whose saves go on, for none has learned from it") {
  const Scratch scratch("data_check_ids");
  const std::string path = scratch.path + "/ids.bin";
  write_ids(path, 5000);
  TokenStream stream = TokenStream::open(path);
  stream.limit_vocabulary(400);
  DataCheck check({&stream}, 60s);
  CHECK_NOTHROW(check.wait_for_save());
  const std::string message = message_of([&] { check.look(); });
  CHECK(message.find("ids.bin: token 99000 is 5000") != std::string::npos);
  CHECK(message.find("may have learned") == std::string::npos);
}

TEST_CASE(
    "data check: damage in a file with a checksum stops a save, also where a file without one is read before it") {
  const Scratch scratch("data_check_mixed");
  const std::string data = damaged_corpus(scratch);
  write_ids(data + "/a.bin", 7);
  const TokenStream stream = TokenStream::open(data + "/[at]*.bin");
  REQUIRE_FALSE(stream.parts().front().has_checksum);
  REQUIRE(stream.parts().back().has_checksum);
  DataCheck waits({&stream}, 60s);
  CHECK(message_of([&] { waits.wait_for_save(); }).find("train_00000.bin: checksum is ") != std::string::npos);
  const TokenStream whole = TokenStream::open(corpus(), Split::train);
  std::vector<const TokenStream*> streams(500, &whole);  // what comes before takes longer than the save waits
  streams.push_back(&stream);
  DataCheck check(streams, 0ms);
  CHECK_NOTHROW(check.wait_for_save());
  std::string message;
  while ((message = message_of([&] { check.look(); })).empty()) std::this_thread::sleep_for(1ms);
  CHECK(message.find("this run's checkpoints may have learned from it") != std::string::npos);
}
