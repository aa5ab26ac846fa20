// Text that can be read only once, from a pipe: written to a file, so that it can be read twice. Internal to src/data.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "data/text_blocks.h"

namespace bittern {

/// Whether `input` is "-" (standard input), a pipe or another thing that is no file and no folder.
bool is_stream(const std::string& input);

/// Copies all of it to `path`, compressed with zstd unless it is compressed already, and says what it holds. `tell` is
/// called some times a second, also while nothing comes and after every signal; what it throws ends the copying.
TextFile spool(const std::string& input, const std::string& path, const std::function<void()>& tell);

}  // namespace bittern
