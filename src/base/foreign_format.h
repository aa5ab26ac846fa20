// Files that people take for text, tokens or weights: what they are, told by their first bytes, and what to do.
#pragma once

#include <optional>
#include <string_view>

namespace bittern {

struct ForeignFormat {
  std::string_view name;    ///< "a Parquet file"
  std::string_view advice;  ///< "write its text as JSON lines ..."
};

/// `front`: the first bytes of the file; 512 are enough. Nothing where it is none of those that are known.
std::optional<ForeignFormat> foreign_format(std::string_view front);

}  // namespace bittern
