// What the tests of files share: a folder that goes away, errors as values, and seeded damage.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "bittern/error.h"
#include "bittern/quant/philox.h"
#include "bittern/safetensors.h"
#include "catch.h"
#include "temporary_folder.h"

namespace bittern::storage_test {

struct Thrown {
  ExitCode code = ExitCode::ok;
  std::string text;
};
/// What the action throws; only an Error may come out of it.
template <typename Action>
Thrown error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.exit_code(), error.what()};
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
/// A new file each time: ext4 flushes a file that is truncated and written again, which is slow thousands of times.
inline void write_bytes(const std::string& path, const std::string& bytes) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) std::filesystem::remove(path, ignored);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// Random numbers in order, from Philox.
class Random {
 public:
  explicit Random(std::uint32_t seed) : seed_(seed) {}
  std::uint32_t word() { return philox(philox_key(seed_, Purpose::test), index_++, 0, 0); }
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : word() % bound; }

 private:
  std::uint32_t seed_;
  std::uint64_t index_ = 0;
};

/// `bytes` with a few random faults: flipped bits, overwritten bytes, pieces cut out, doubled or moved, numbers
/// replaced by extreme ones. `window`: faults fall into the first `window` bytes (headers are a small part of a file).
inline std::string damaged(std::string bytes, std::size_t window, Random& random) {
  static const char* const extremes[] = {"18446744073709551615",
                                         "9223372036854775807",
                                         "-1",
                                         "1e308",
                                         "0.5",
                                         "null",
                                         "{}",
                                         "[]",
                                         "\"\"",
                                         "4294967296",
                                         "[[[[[[[[",
                                         "\\u0000",
                                         "\xff"};
  const std::size_t faults = 1 + random.below(3);
  for (std::size_t fault = 0; fault < faults; ++fault) {
    const std::size_t range = std::min(window, bytes.size());
    const std::size_t at = random.below(range), length = random.below(std::min<std::size_t>(range - at + 1, 24));
    switch (random.below(7)) {
      case 0:
      case 1:
        if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
        break;
      case 2:
        if (at < bytes.size()) bytes[at] = static_cast<char>(random.word());
        break;
      case 3:
        bytes.erase(at, length);
        break;
      case 4:
        bytes.insert(random.below(range), bytes.substr(at, length));
        break;
      case 5: {
        const std::size_t digit = bytes.find_first_of("0123456789", at);
        if (digit != std::string::npos) bytes.replace(digit, 1, extremes[random.below(std::size(extremes))]);
        break;
      }
      default:
        bytes.resize(random.below(8) == 0 ? random.below(bytes.size() + 1)
                                          : bytes.size() - std::min(length, bytes.size()));
    }
  }
  return bytes;
}

/// Gives `read` a text with seeded damage, so many times. It reads it, or refuses it as bad input by an Error that names
/// `file`; returns how often it refused.
template <typename Read>
int refusals_of_damaged(const std::string& good, std::uint32_t times, const std::string& file, Read read) {
  int refused = 0;
  for (std::uint32_t seed = 0; seed < times; ++seed) {
    Random random(seed);
    const std::string bad = damaged(good, good.size(), random);
    const Thrown thrown = error_of([&] { read(bad); });
    CAPTURE(seed, bad, thrown.text);
    CHECK((thrown.code == ExitCode::ok || thrown.code == ExitCode::bad_input));
    CHECK((thrown.code == ExitCode::ok || contains(thrown.text, file)));
    refused += thrown.code != ExitCode::ok;
  }
  return refused;
}

/// A tensor and the memory that it views.
struct OwnedTensor {
  std::string name, dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
  NamedTensor view() const { return {.name = name, .dtype = dtype, .shape = shape, .data = bytes}; }
};
inline OwnedTensor random_tensor(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                                 std::uint32_t seed) {
  std::int64_t size = safetensors_dtype_size(dtype).value();
  for (const std::int64_t extent : shape) size *= extent;
  OwnedTensor tensor{std::move(name), std::move(dtype), std::move(shape), std::vector<std::byte>(std::size_t(size))};
  Random random(seed);
  for (std::byte& byte : tensor.bytes) byte = static_cast<std::byte>(random.word());
  // Finite numbers: one bit of every exponent is 0.
  const std::size_t width = tensor.dtype == "F32" ? 4 : tensor.dtype == "BF16" ? 2 : 0;
  for (std::size_t i = width; width > 0 && i <= tensor.bytes.size(); i += width) tensor.bytes[i - 1] &= std::byte{0xbf};
  return tensor;
}
inline std::vector<NamedTensor> views(const std::vector<OwnedTensor>& tensors) {
  std::vector<NamedTensor> result;
  for (const OwnedTensor& tensor : tensors) result.push_back(tensor.view());
  return result;
}

}  // namespace bittern::storage_test
