#include "watch/tensorboard.h"

#include <cstring>
#include <filesystem>
#include <vector>

#include "catch.h"
#include "temporary_folder.h"

using namespace bittern;

namespace {

std::string fresh_directory(const std::string& name) {
  static const TemporaryFolder all("tensorboard");
  const std::string path = all / name;
  std::filesystem::remove_all(path);
  return path;
}

template <typename T>
T number_at(const std::string& bytes, std::size_t offset) {
  T value;
  REQUIRE(offset + sizeof(T) <= bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::uint32_t masked(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

// The payloads of a TFRecord file, each checksum verified.
std::vector<std::string> records(const std::string& path) {
  const std::string bytes = read_whole_file(path, 1 << 20, "events");
  std::vector<std::string> result;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto length = number_at<std::uint64_t>(bytes, at);
    REQUIRE(number_at<std::uint32_t>(bytes, at + 8) == masked(bytes.substr(at, 8)));
    result.push_back(bytes.substr(at + 12, length));
    REQUIRE(number_at<std::uint32_t>(bytes, at + 12 + length) == masked(result.back()));
    at += 16 + length;
  }
  return result;
}

}  // namespace

TEST_CASE("crc32c: the check values of RFC 3720 B.4") {
  CHECK(crc32c("123456789") == 0xE3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AAu);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62A8AB43u);
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending += static_cast<char>(i);
  CHECK(crc32c(ascending) == 0x46DD794Eu);
  CHECK(crc32c("") == 0u);
}

TEST_CASE("tensorboard: records are whole and hold the scalars, byte for byte") {
  TensorboardWriter writer(fresh_directory("bytes"), 0);
  StepMetrics m;
  m.step = 300;
  m.loss = 2.5;
  m.grad_norm = 1.0;
  m.lr = 0.5;
  m.tokens_per_second = 1024;
  writer.step(m);
  writer.evaluation({.step = 300, .valid_loss = -2.0});
  const auto events = records(writer.path());
  REQUIRE(events.size() == 4);
  CHECK(events[0].substr(9) ==
        "\x1a\x0d"
        "brain.Event:2");                                                    // field 3, 13 bytes
  CHECK(events[1].substr(9) == std::string("\x10\x01\x3a\x02\x08\x01", 6));  // step 1, SessionLog START
  CHECK(events[0][0] == '\x09');                                             // field 1, a double: wall time
  CHECK(events[2].substr(9, 3) == "\x10\xac\x02");                           // step 300 as a varint
  CHECK(events[2].find(std::string("\x0a\x04loss\x15\x00\x00\x20\x40", 11)) != std::string::npos);  // 2.5f
  CHECK(events[2].find(std::string("\x0a\x02lr\x15\x00\x00\x00\x3f", 9)) != std::string::npos);
  CHECK(events[3].substr(9) == std::string("\x10\xac\x02\x2a\x13\x0a\x11\x0a\x0avalid_loss\x15\x00\x00\x00\xc0", 24));
}

TEST_CASE("tensorboard: a resume writes a new file that sorts last and voids the later steps") {
  const std::string directory = fresh_directory("resume");
  const std::string first = TensorboardWriter(directory, 0).path();
  const std::string second = TensorboardWriter(directory, 4).path();
  const std::string third = TensorboardWriter(directory, 4).path();
  CHECK(first < second);
  CHECK(second < third);
  CHECK(records(second).at(1).substr(9) == std::string("\x10\x05\x3a\x02\x08\x01", 6));  // START at step 5
}
