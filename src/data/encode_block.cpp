// A block of text -> runs of ids.
#include "data/encode_block.h"

#include <utility>

#include "base/utf8.h"
#include "bittern/file.h"
#include "data/text_lines.h"

namespace bittern {
namespace {

class BlockEncoder {
 public:
  BlockEncoder(const BlockText& block, const SplitPlan& plan, const Tokenizer& tokenizer, TextEncoder& encoder)
      : block_(block), plan_(plan), lines_are_apart_(tokenizer.lines_are_apart()), encoder_(encoder) {}

  Encoded encode(const BlockPlace& place, std::uint64_t after) {
    position_ = place.text_bytes;
    for (const TextRange& range : block_.ranges) {
      const std::string_view text = std::string_view(block_.text).substr(range.begin, range.end - range.begin);
      if (plan_.by_document()) {
        const std::uint64_t hash = !range.starts_document ? place.open_document
                                   : !range.ends_document ? after
                                                          : checksum(as_bytes(text));
        add(text, plan_.of_document(hash), range.starts_document, range.ends_document);
      } else {
        add_by_place(text, range);
      }
    }
    out_.text_bytes = position_ - place.text_bytes;
    out_.unknown_example = encoder_.take_unknown_example();
    return std::move(out_);
  }

 private:
  void add_by_place(std::string_view text, const TextRange& range) {
    // Where the other split ends in the line before, only the one who knows that line can tell.
    bool starts = range.starts_document;
    bool sure =
        starts || !plan_.changes_between(std::max<std::int64_t>(0, position_ - static_cast<std::int64_t>(longest_line)),
                                         position_);
    if (text.empty()) return add(text, Split::train, starts, range.ends_document, sure);
    while (!text.empty()) {
      const Split split = plan_.of_place(position_);
      std::size_t length = 0;  // of all lines of this split
      while (length < text.size() && plan_.of_place(position_ + static_cast<std::int64_t>(length)) == split) {
        const std::string_view rest = text.substr(length), line = rest.substr(0, line_length(rest));
        const std::size_t same = plan_.same_split(position_ + static_cast<std::int64_t>(length), line);
        length += same;
        if (same < line.size()) break;
      }
      const bool all = length == text.size();
      const bool ends =
          all ? range.ends_document || plan_.of_place(position_ + static_cast<std::int64_t>(length)) != split : true;
      add(text.substr(0, length), split, starts, ends, sure);
      text.remove_prefix(length);
      starts = sure = true;
    }
  }

  void add(std::string_view text, Split split, bool starts, bool ends, bool sure = true) {
    Encoded::Run run{
        .split = split, .starts = starts, .ends = ends, .text_bytes = static_cast<std::int64_t>(text.size())};
    position_ += run.text_bytes;
    if (utf8_valid_prefix(text) != text.size()) {
      repaired_.clear();
      utf8_repair(text, repaired_);
      text = repaired_;
    }
    const bool apart_before = starts || (lines_are_apart_ && block_.begins_after_line && sure);
    const bool apart_behind = ends || (lines_are_apart_ && block_.ends_after_line);
    if (apart_before && apart_behind) {
      if (!starts) encoder_.enter_after_line();
      encoder_.add(text, out_.ids);
      if (ends)
        encoder_.end(out_.ids);
      else
        encoder_.leave_after_line(out_.ids);
    } else {
      run.left_as_text = true;
      run.text = text;
    }
    run.ids_end = out_.ids.size();
    out_.runs.push_back(std::move(run));
  }

  const BlockText& block_;
  const SplitPlan& plan_;
  const bool lines_are_apart_;
  TextEncoder& encoder_;
  std::int64_t position_ = 0;
  std::string repaired_;
  Encoded out_;
};

}  // namespace

Encoded encode_block(const BlockText& block, const BlockPlace& place, std::uint64_t after, const SplitPlan& plan,
                     const Tokenizer& tokenizer, TextEncoder& encoder) {
  return BlockEncoder(block, plan, tokenizer, encoder).encode(place, after);
}

}  // namespace bittern
