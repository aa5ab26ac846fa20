// Files of lines: grown by whole records, read leniently.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "bittern/file.h"

namespace bittern {

/// A file that grows at its end.
class AppendFile {
 public:
  /// Creates it where it is missing.
  explicit AppendFile(const std::string& path);
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;
  ~AppendFile();

  /// One write(2). If the disk takes only a part, that part is removed again before the error is thrown.
  void append(std::string_view bytes);
  void sync();
  void truncate(std::int64_t size);

 private:
  int descriptor_ = -1;
  std::string path_;
};

/// One line of a file, and where it is. `complete` is false for a last line that lacks its newline.
struct FileLine {
  std::string_view text;
  std::int64_t offset;
  bool complete;
};

/// Visits the lines of a file of any size. A line longer than 4 MiB arrives cut there.
void for_each_line(const File& file, const std::function<void(const FileLine&)>& visit);

/// Replaces a file so that a reader sees the old or the new one, whole. Unlike write_file_atomically it does not wait
/// for the disk: for files that are written again and again and whose loss in a power cut costs nothing.
void replace_file(const std::string& path, std::string_view bytes);

}  // namespace bittern
