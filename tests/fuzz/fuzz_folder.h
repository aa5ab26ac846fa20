// A folder for a fuzz target's files, in memory where the machine has /dev/shm; removed at exit.
#pragma once

#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "bittern/file.h"
#include "temporary_folder.h"

namespace bittern_fuzz {

using Folder = bittern::TemporaryFolder;

inline std::string_view text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace bittern_fuzz
