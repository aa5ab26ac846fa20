// TemporaryFolder: an empty folder that goes when the test ends. In memory where the system has such a place: tests
// write many small files, and how long a disk takes to make them durable is not what they ask about. Those that do ask
// take a folder on the disk.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "bittern/file.h"

namespace bittern {

struct TemporaryFolder {
  std::string path;
  enum class Place { memory, disk };

  /// `name` is part of the folder's name, for who looks at what a killed test left.
  explicit TemporaryFolder(const std::string& name = "test", Place place = Place::memory) {
    std::error_code error;
    const bool memory = place == Place::memory && std::filesystem::is_directory("/dev/shm", error);
    const std::filesystem::path base = memory ? "/dev/shm" : std::filesystem::temp_directory_path();
    path = (std::filesystem::canonical(base) / ("bittern_" + name + "_XXXXXX")).string();
    if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error(path + ": cannot be made");
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return path + "/" + name; }
  /// Writes a file below the folder and gives its path.
  std::string write(const std::string& name, std::string_view bytes) const {
    const std::string file = path + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    File::create(file).write(as_bytes(bytes));
    return file;
  }
};

}  // namespace bittern
