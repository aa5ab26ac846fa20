// Appends whole records to a file, reads a file line by line, and replaces a file as a whole.
#include "base/lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "bittern/error.h"

namespace bittern {

AppendFile::AppendFile(const std::string& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0)
    throw failure("{}: cannot be opened for appending: {}; choose a run folder that can be written with --out", path,
                  std::strerror(errno));
}

AppendFile::~AppendFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void AppendFile::append(std::string_view bytes) {
  ssize_t written = 0;
  do written = ::write(descriptor_, bytes.data(), bytes.size());
  while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(bytes.size())) return;
  const char* reason = written < 0 ? std::strerror(errno) : "no space left on the device";
  if (written > 0) {
    const off_t end = ::lseek(descriptor_, 0, SEEK_END);
    if (end >= written && ::ftruncate(descriptor_, end - written) != 0) reason = "it was cut short";
  }
  throw failure("{}: {} bytes could not be appended: {}; free some space and run again to go on", path_, bytes.size(),
                reason);
}

void AppendFile::sync() {
  // A pipe or a special file given as a metrics file cannot be synchronised, and need not be.
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS)
    throw failure("{}: could not be made durable: {}", path_, std::strerror(errno));
}

void AppendFile::truncate(std::int64_t size) {
  if (::ftruncate(descriptor_, size) != 0)
    throw failure("{}: could not be cut to {} bytes: {}", path_, size, std::strerror(errno));
}

void for_each_line(const File& file, const std::function<void(const FileLine&)>& visit) {
  constexpr std::size_t longest = std::size_t{4} << 20;
  std::string piece(std::size_t{1} << 18, '\0');
  std::string line;
  std::int64_t line_start = 0;
  std::int64_t position = 0;
  const auto keep = [&](std::string_view text) {
    line.append(text.substr(0, longest - line.size()));
    position += static_cast<std::int64_t>(text.size());
  };
  for (std::int64_t offset = 0;;) {
    const std::int64_t count = file.read_some(offset, std::as_writable_bytes(std::span(piece)));
    if (count == 0) break;
    offset += count;
    std::string_view rest(piece.data(), static_cast<std::size_t>(count));
    for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      keep(rest.substr(0, end));
      visit({line, line_start, true});
      line.clear();
      line_start = ++position;
      rest.remove_prefix(end + 1);
    }
    keep(rest);
  }
  if (position > line_start) visit({line, line_start, false});
}

void replace_file(const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".tmp";
  File file = File::create(temporary);
  file.write(as_bytes(bytes));
  file.close();
  rename_path(temporary, path);
}

}  // namespace bittern
