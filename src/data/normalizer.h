// TextNormalizer: what SentencePiece does to a text before it cuts it into pieces, for a text that is given in parts.
// Internal to src/data.
#pragma once

#include <string>
#include <string_view>

#include "data/tokenizer_model.h"

namespace bittern {

class TextNormalizer {
 public:
  explicit TextNormalizer(const Tokenizer::Model& model) : model_(model) {}
  /// More of the text; appends to `out` what is decided by now.
  void add(std::string_view part, std::string& out);
  /// The text is over; the next part begins another.
  void end(std::string& out);

 private:
  struct Rule {
    std::string_view to = {};
    std::size_t length = 0;
    bool undecided = false;
  };
  Rule next(std::string_view input, bool last) const;
  void run(bool last);
  void give(std::string& out);

  const Tokenizer::Model& model_;
  std::string raw_;   // of the text: not looked at yet
  std::string made_;  // not given yet: spaces that vanish if they turn out to be the last of the text
  bool at_start_ = true, after_space_ = false;
};

/// Whether the table's offsets all lie inside it, and its texts are UTF-8.
bool charsmap_is_safe(std::string_view charsmap);

}  // namespace bittern
