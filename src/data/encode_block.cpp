#include "data/encode_block.h"

#include <string>
#include <utility>

#include "data/utf8.h"

namespace bittern {

Encoded encode_block(const BlockText& block, BlockPlace place, const SplitPlan& plan, LineEncoder& encoder) {
  Encoded out;
  std::string repaired;
  const auto add = [&](std::string_view text, Split split, bool first) {
    const auto bytes = static_cast<std::int64_t>(text.size());
    if (utf8_valid_prefix(text) != text.size()) {
      repaired.clear();
      utf8_repair(text, repaired);
      text = repaired;
    }
    encoder.encode(text, first, out.ids);
    if (out.runs.empty() || out.runs.back().split != split || out.runs.back().ends_document)
      out.runs.push_back({.split = split});
    out.runs.back().ids_end = out.ids.size();
    out.runs.back().text_bytes += bytes;
  };
  for (const TextRange& range : block.ranges) {
    bool first = range.starts_document;
    const Split of_document = plan.by_document() ? plan.of_document(place.documents) : Split::train;
    for_each_line(
        std::string_view(block.text).substr(range.begin, range.end - range.begin), [&](std::string_view line) {
          while (!line.empty()) {
            const std::size_t same = plan.by_document() ? line.size() : plan.same_split(place.text_bytes, line);
            add(line.substr(0, same), plan.by_document() ? of_document : plan.of_place(place.text_bytes), first);
            first = false;
            place.text_bytes += static_cast<std::int64_t>(same);
            out.text_bytes += static_cast<std::int64_t>(same);
            line.remove_prefix(same);
          }
        });
    if (range.ends_document) {
      ++place.documents;
      if (out.runs.empty() || out.runs.back().ends_document) out.runs.push_back({.ids_end = out.ids.size()});
      out.runs.back().ends_document = true;
    }
  }
  return out;
}

}  // namespace bittern
