// Which text is for validation: a pure function of a document's text, or of a byte's place. Internal to src/data.
#pragma once

#include <cstdint>
#include <string_view>

#include "bittern/token_file.h"

namespace bittern {

class SplitPlan {
 public:
  SplitPlan(double fraction, std::int64_t documents, std::int64_t text_bytes);

  /// Whether so many documents are split whole, each by the hash of its text; fewer are split by place.
  static bool by_document(double fraction, std::int64_t documents);
  bool by_document() const { return by_document_; }
  /// `hash`: of the document's text, so that copies of one text are all in one split.
  Split of_document(std::uint64_t hash) const;
  /// The split of a line that begins at `position` in the text of all documents.
  Split of_place(std::int64_t position) const;
  /// How many bytes of a line that begins at `position` belong to `of_place(position)`; the rest belongs to the other
  /// split. An ordinary line is never cut, one of more than 1 KiB is, at a space or else between characters.
  std::size_t same_split(std::int64_t position, std::string_view line) const;
  /// Whether some byte in (from, to] belongs to another split than `from`.
  bool changes_between(std::int64_t from, std::int64_t to) const;

 private:
  std::int64_t next_border(std::int64_t position) const;

  bool by_document_ = false;
  std::uint64_t threshold_ = 0;  ///< of 2^32
  // The text is divided into stretches of equal length; the last `valid_bytes_` of each are for validation.
  std::int64_t stretch_bytes_ = INT64_MAX, valid_bytes_ = 0, text_bytes_ = 0, stretches_ = 1;
};

}  // namespace bittern
