// Files over POSIX descriptors. One table turns errno into an exit code and a remedy; every loop below copes with short
// transfers and EINTR.
#include "bittern/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "bittern/error.h"

namespace bittern {
namespace {

// A request of more than this is cut: Linux transfers at most 2 GiB - 4 KiB in one call.
constexpr std::size_t largest_transfer = std::size_t{1} << 30;

const char* remedy(int code) {
  switch (code) {
    case ENOENT:
      return "check the path";
    case EACCES:
    case EPERM:
      return "check the permissions of the file and of its folder";
    case EISDIR:
      return "give a file, not a folder";
    case ENOTDIR:
      return "a part of the path is a file, not a folder: check the path";
    case ENOSPC:
    case EDQUOT:
      return "free some space or choose another disk, then run again";
    case EFBIG:
      return "the file system or a limit of this shell (ulimit -f) does not allow a file of this size";
    case EROFS:
      return "the file system is read-only: choose another place";
    case EMFILE:
    case ENFILE:
      return "too many files are open: raise the limit (ulimit -n)";
    case EIO:
      return "the disk or the network file system reports an error: check it";
    default:
      return "check the path and the disk";
  }
}

// What failed while reading is the user's input, unless the machine itself is at fault.
Error read_failure(const std::string& path, const char* what, int code) {
  const std::string text = fmt::format("{}: cannot {}: {}; {}", path, what, std::strerror(code), remedy(code));
  const bool machine = code == EIO || code == EMFILE || code == ENFILE || code == ENOMEM;
  return Error(machine ? ExitCode::failure : ExitCode::bad_input, text);
}

Error write_failure(const std::string& path, const char* what, int code) {
  return failure("{}: cannot {}: {}; {}", path, what, std::strerror(code), remedy(code));
}

}  // namespace

File File::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw read_failure(path, "open", errno);
  File file(descriptor, path);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw read_failure(path, "look at the file", errno);
  if (S_ISDIR(status.st_mode)) throw read_failure(path, "open", EISDIR);
  if (!S_ISREG(status.st_mode))
    throw input_error("{}: is not a regular file (a pipe or a device?); write it to a file first", path);
  return file;
}

File File::create(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) throw write_failure(path, "create", errno);
  return File(descriptor, path);
}

File::File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::int64_t File::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) throw read_failure(path_, "ask the size", errno);
  return static_cast<std::int64_t>(status.st_size);
}

std::int64_t File::read_some(std::int64_t offset, std::span<std::byte> out) const {
  check(offset >= 0, "{}: read at offset {}", path_, offset);
  std::size_t done = 0;
  while (done < out.size()) {
    const std::size_t want = std::min(out.size() - done, largest_transfer);
    const ssize_t got =
        ::pread(descriptor_, out.data() + done, want, static_cast<off_t>(offset) + static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw read_failure(path_, "read", errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return static_cast<std::int64_t>(done);
}

void File::read(std::int64_t offset, std::span<std::byte> out) const {
  const std::int64_t got = read_some(offset, out);
  if (got != static_cast<std::int64_t>(out.size()))
    throw input_error("{}: ends at byte {}, expected {} more; the file is truncated: copy or make it again", path_,
                      offset + got, static_cast<std::int64_t>(out.size()) - got);
}

void File::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(descriptor_, bytes.data(), std::min(bytes.size(), largest_transfer));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw write_failure(path_, "write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

void File::write_at(std::int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(descriptor_, bytes.data(), std::min(bytes.size(), largest_transfer), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw write_failure(path_, "write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += put;
  }
}

void File::start_writeback(std::int64_t offset, std::int64_t bytes) {
#ifdef SYNC_FILE_RANGE_WRITE
  ::sync_file_range(descriptor_, offset, bytes, SYNC_FILE_RANGE_WRITE);
#else
  static_cast<void>(offset), static_cast<void>(bytes);
#endif
}

void File::sync() {
  if (::fsync(descriptor_) != 0) throw write_failure(path_, "make durable (fsync)", errno);
}

void File::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  if (descriptor >= 0 && ::close(descriptor) != 0 && errno != EINTR) throw write_failure(path_, "close", errno);
}

AtomicFile::AtomicFile(const std::string& path) : path_(path), file_(File::create(path + ".tmp")) {}

AtomicFile::~AtomicFile() {
  if (file_.is_open()) ::unlink(file_.path().c_str());
}

void AtomicFile::commit() {
  file_.sync();
  rename_path(file_.path(), path_);
  file_.close();
  sync_directory(parent_directory(path_));
}

struct Checksum::State {
  XXH3_state_t* xxh3;
};

Checksum::Checksum() : state_(std::make_unique<State>()) {
  state_->xxh3 = XXH3_createState();
  check(state_->xxh3 != nullptr, "checksum: out of memory");
  XXH3_64bits_reset(state_->xxh3);
}
Checksum::Checksum(Checksum&&) noexcept = default;
Checksum& Checksum::operator=(Checksum&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Checksum::~Checksum() {
  if (state_) XXH3_freeState(state_->xxh3);
}
void Checksum::update(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_64bits_update(state_->xxh3, bytes.data(), bytes.size());
}
std::uint64_t Checksum::digest() const {
  return XXH3_64bits_digest(state_->xxh3);
}

std::uint64_t checksum(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t checksum_file(const std::string& path) {
  const File file = File::open(path);
  Checksum sum;
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  std::int64_t offset = 0;
  while (const std::int64_t got = file.read_some(offset, buffer)) {
    sum.update(std::span(buffer).first(static_cast<std::size_t>(got)));
    offset += got;
  }
  return sum.digest();
}

std::string checksum_text(std::uint64_t digest) {
  return fmt::format("{:016x}", digest);
}

std::string read_whole_file(const std::string& path, std::int64_t limit, std::string_view what) {
  const File file = File::open(path);
  const std::int64_t size = file.size();
  if (size > limit)
    throw input_error("{}: has {} bytes; expected {} of at most {} bytes; check the path", path, size, what, limit);
  std::string bytes(static_cast<std::size_t>(size), '\0');
  file.read(0, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(as_bytes(bytes));
  file.commit();
}

std::optional<std::int64_t> free_bytes(const std::string& directory) {
  struct statvfs status {};
  if (::statvfs(directory.c_str(), &status) != 0 || status.f_blocks == 0) return std::nullopt;
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(status.f_bavail, status.f_frsize, &bytes)) return std::numeric_limits<std::int64_t>::max();
  return bytes;
}

void make_directories(const std::string& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (!code && !std::filesystem::is_directory(path, code) && !code)
    code = std::make_error_code(std::errc::not_a_directory);
  if (code) throw write_failure(path, "create the folder", code.value());
}

void rename_path(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) throw write_failure(to, "put the finished file in place", errno);
}

void sync_directory(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw write_failure(path, "open the folder", errno);
  const int result = ::fsync(descriptor);
  const int code = errno;
  ::close(descriptor);
  // Some network file systems cannot fsync a folder and say EINVAL; there is nothing more to do there.
  if (result != 0 && code != EINVAL) throw write_failure(path, "make durable (fsync)", code);
}

std::string parent_directory(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

}  // namespace bittern
