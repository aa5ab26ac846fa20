// RunFolder: RUN, owned by one process at a time.
#pragma once

#include <string>
#include <utility>

namespace bittern {

class RunFolder {
 public:
  /// Makes RUN if it is not there, and locks it; another process that trains into it is an error. A folder that holds
  /// something else than a run is refused.
  static RunFolder open(const std::string& path);
  RunFolder(RunFolder&& other) noexcept : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}
  RunFolder& operator=(RunFolder&&) = delete;
  ~RunFolder();

  const std::string& path() const { return path_; }

 private:
  RunFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string path_;
  int lock_;
};

}  // namespace bittern
