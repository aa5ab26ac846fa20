// A sample of a text of any size in bounded memory, for training a tokenizer. Internal to src/data.
//
// The text is taken in stretches of 4 KiB; each has a random number addressed by its place, and those below a threshold
// are kept. The threshold is halved while there are too many. So the sample depends on the text and the bound alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bittern {

class TextSample {
 public:
  explicit TextSample(std::int64_t most_bytes) : most_bytes_(most_bytes) {}
  /// Adds a line (UTF-8 or nearly) that begins at `position`; lines come in rising order.
  void add(std::int64_t position, std::string_view line);
  std::vector<std::string> take();

 private:
  struct Stretch {
    std::int64_t index;
    std::uint32_t draw;
    std::string text;
  };
  std::int64_t most_bytes_, bytes_ = 0;
  std::uint64_t threshold_ = std::uint64_t{1} << 32;
  std::vector<Stretch> stretches_;
  std::int64_t current_ = -1;
  std::uint32_t draw_ = 0;
};

}  // namespace bittern
