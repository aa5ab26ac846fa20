// SplitPlan: whole documents where there are many, stretches of the text where there are few.
#include "data/split_plan.h"

#include <algorithm>
#include <cmath>

#include "bittern/quant/philox.h"

namespace bittern {
namespace {

// Below this many expected validation documents their share of the text would be left to chance.
constexpr double enough_documents = 16;
constexpr std::int64_t most_stretches = 16;
// A piece for validation is at least this long, so that cutting costs little context.
constexpr double shortest_piece = 64 << 10;
constexpr std::size_t ordinary_line = 1024;

// The key of the draws.
constexpr std::uint32_t split_seed = 0x73706C74;

}  // namespace

SplitPlan::SplitPlan(double fraction, std::int64_t documents, std::int64_t text_bytes) : text_bytes_(text_bytes) {
  by_document_ = by_document(fraction, documents);
  threshold_ = static_cast<std::uint64_t>(std::llround(fraction * 0x1p32));
  if (fraction <= 0 || text_bytes <= 0) return;
  const double valid = static_cast<double>(text_bytes) * fraction;
  stretches_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(valid / shortest_piece), 1, most_stretches);
  stretch_bytes_ = text_bytes / stretches_;
  valid_bytes_ = std::max<std::int64_t>(1, std::llround(valid / static_cast<double>(stretches_)));
}

bool SplitPlan::by_document(double fraction, std::int64_t documents) {
  return static_cast<double>(documents) * fraction >= enough_documents;
}

Split SplitPlan::of_document(std::uint64_t hash) const {
  const PhiloxKey key = philox_key(split_seed, Purpose::document_split);
  return philox(key, hash, 0, 0) < threshold_ ? Split::valid : Split::train;
}

Split SplitPlan::of_place(std::int64_t position) const {
  const std::int64_t stretch = std::min(position / stretch_bytes_, stretches_ - 1);
  const std::int64_t end = stretch + 1 == stretches_ ? text_bytes_ : (stretch + 1) * stretch_bytes_;
  return position >= end - valid_bytes_ ? Split::valid : Split::train;
}

// The first byte after `position` where the other split begins.
std::int64_t SplitPlan::next_border(std::int64_t position) const {
  const std::int64_t stretch = std::min(position / stretch_bytes_, stretches_ - 1);
  const std::int64_t end = stretch + 1 == stretches_ ? text_bytes_ : (stretch + 1) * stretch_bytes_;
  return of_place(position) == Split::valid ? end : end - valid_bytes_;
}

bool SplitPlan::changes_between(std::int64_t from, std::int64_t to) const {
  return valid_bytes_ > 0 && next_border(from) <= to;
}

std::size_t SplitPlan::same_split(std::int64_t position, std::string_view line) const {
  if (line.size() <= ordinary_line || valid_bytes_ == 0) return line.size();
  const std::int64_t border = next_border(position);
  if (border - position >= static_cast<std::int64_t>(line.size())) return line.size();
  const auto from = static_cast<std::size_t>(border - position);
  std::size_t cut = line.find(' ', from);
  if (cut == std::string_view::npos) {
    cut = from;
    while (cut < line.size() && (static_cast<unsigned char>(line[cut]) & 0xC0) == 0x80) ++cut;
  }
  return std::max<std::size_t>(cut, 1);
}

}  // namespace bittern
