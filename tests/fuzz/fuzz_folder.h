// A folder for a fuzz target's files, in memory where the machine has /dev/shm; removed at exit.
#pragma once

#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "bittern/file.h"

namespace bittern_fuzz {

struct Folder {
  Folder() {
    path = (std::filesystem::exists("/dev/shm") ? std::string("/dev/shm")
                                                : std::filesystem::temp_directory_path().string()) +
           "/bittern_fuzz_XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) abort();
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string write(const char* name, std::string_view bytes) const {
    bittern::File::create(path + "/" + name).write(bittern::as_bytes(bytes));
    return path + "/" + name;
  }
  std::string path;
};

inline std::string_view text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace bittern_fuzz
