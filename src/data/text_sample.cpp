// Draws the sample of a text that a tokenizer is trained on, while the text is read once.
#include "data/text_sample.h"

#include "base/utf8.h"
#include "bittern/quant/philox.h"

namespace bittern {
namespace {

constexpr std::int64_t stretch_bytes = 4096;
constexpr std::uint32_t sample_seed = 0x736D706C;

}  // namespace

void TextSample::add(std::int64_t position, std::string_view line) {
  const std::int64_t index = position / stretch_bytes;
  if (index != current_) {
    current_ = index;
    draw_ = philox(philox_key(sample_seed, Purpose::tokenizer_sample), static_cast<std::uint64_t>(index), 0, 0);
  }
  if (draw_ >= threshold_) return;
  if (stretches_.empty() || stretches_.back().index != index) stretches_.push_back({index, draw_, {}});
  std::string& text = stretches_.back().text;
  const std::size_t before = text.size();
  utf8_repair(line, text);
  bytes_ += static_cast<std::int64_t>(text.size() - before);
  while (bytes_ > most_bytes_ && stretches_.size() > 1) {
    threshold_ /= 2;
    std::erase_if(stretches_, [&](const Stretch& stretch) {
      if (stretch.draw < threshold_) return false;
      bytes_ -= static_cast<std::int64_t>(stretch.text.size());
      return true;
    });
  }
}

std::vector<std::string> TextSample::take() {
  std::vector<std::string> texts;
  for (Stretch& stretch : stretches_) texts.push_back(std::move(stretch.text));
  stretches_.clear();
  return texts;
}

}  // namespace bittern
