// Helpers of the data room's tests: a temporary folder, made-up text, errors as values.
#pragma once

#include <stdlib.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/quant/philox.h"
#include "temporary_folder.h"

namespace bittern_test {

using Folder = bittern::TemporaryFolder;

inline std::string read(const std::string& path) {
  return bittern::read_whole_file(path, INT64_MAX, "a file");
}

/// The exit code and message of the Error that `action` throws; {0, ""} where it throws none.
template <typename Action>
std::pair<int, std::string> error_of(Action action) {
  try {
    action();
  } catch (const bittern::Error& error) {
    return {static_cast<int>(error.exit_code()), error.what()};
  }
  return {0, ""};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A sequence of addressed random numbers.
struct Random {
  explicit Random(std::uint32_t seed) : key(bittern::philox_key(seed, bittern::Purpose::test)) {}
  std::uint32_t next() { return bittern::philox(key, at++, 0, 0); }
  std::uint32_t below(std::size_t n) { return next() % static_cast<std::uint32_t>(n); }
  bittern::PhiloxKey key;
  std::uint64_t at = 0;
};

/// Made-up prose: words of a fixed list with Zipf-like frequencies, sentences, paragraphs, some of everything odd.
inline std::string prose(std::uint32_t seed, std::size_t bytes) {
  static const char* const syllables[] = {"ka", "to",  "mi", "re",  "sun", "dal", "or", "en",
                                          "vi", "sha", "lu", "pen", "ga",  "ist", "ur", "bel"};
  Random random(seed);
  std::string text;
  bool sentence_start = true;
  while (text.size() < bytes) {
    const std::uint32_t rank = random.below(1 + random.below(1 + random.below(2000)));
    std::string word;
    for (std::uint32_t x = rank + 1; x > 0; x /= 16) word += syllables[x % 16];
    if (sentence_start) word[0] = static_cast<char>(word[0] - 32);
    sentence_start = false;
    text += word;
    switch (random.below(24)) {
      case 0:
        text += ".\n\n";
        sentence_start = true;
        break;
      case 1:
        text += ".\n";
        sentence_start = true;
        break;
      case 2:
        text += ", ";
        break;
      case 3:
        text += "; caf\xC3\xA9 " + std::to_string(random.below(3000)) + " ";
        break;
      case 4:
        text += "  (\xE6\x97\xA5\xE6\x9C\xAC)\t";
        break;
      case 5:
        text += ". ";
        sentence_start = true;
        break;
      default:
        text += " ";
    }
  }
  return text;
}

}  // namespace bittern_test
