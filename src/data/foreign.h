// Token files of other projects, read in place. Internal to src/data.
#pragma once

#include <string>

#include "bittern/token_file.h"

namespace bittern {

/// llm.c's `.bin`: 256 int32 of header (magic, version, count), then the ids.
bool is_llmc(const File& file);
TokenPart open_llmc(File file);

/// Megatron's indexed data set: `idx` describes the ids in `bin`. `idx` is read once, in pieces, and not kept.
bool is_megatron_index(const File& file);
TokenPart open_megatron(const File& idx, File bin);

}  // namespace bittern
