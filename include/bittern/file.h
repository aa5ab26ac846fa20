// Files: every byte that bittern reads or writes goes through here, so that every error has a name, a reason and a
// remedy.
//
//   File          an open file: reads of exact ranges (pread), appending writes, size, fsync. Closed by its destructor.
//   AtomicFile    a file that exists whole or not at all: written as PATH.tmp, then fsync, rename, fsync of the folder.
//   Checksum      streaming XXH3-64, the checksum of every bittern file format.
//
// Reading something that is missing, unreadable or shorter than it says is the user's input (exit code 2); a disk that
// fails or is full is not (exit code 1). Offsets are 64-bit everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bittern {

class File {
 public:
  /// Opens an existing regular file for reading.
  static File open(const std::string& path);
  /// Creates `path`, or empties it, for writing.
  static File create(const std::string& path);

  File() = default;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  const std::string& path() const { return path_; }
  bool is_open() const { return descriptor_ >= 0; }
  /// The size now, asked from the system.
  std::int64_t size() const;

  /// Fills `out` with the bytes from `offset` on, or throws: there is no short read. Safe from many threads at once.
  void read(std::int64_t offset, std::span<std::byte> out) const;
  /// Reads up to `out.size()` bytes from `offset`; returns how many, 0 at the end of the file.
  std::int64_t read_some(std::int64_t offset, std::span<std::byte> out) const;

  /// Appends at the current position.
  void write(std::span<const std::byte> bytes);
  /// Overwrites at `offset` without moving the current position: for a header whose numbers are known last.
  void write_at(std::int64_t offset, std::span<const std::byte> bytes);
  /// Asks the disk to begin with these bytes now, so that a later sync() is short. A hint: it never fails.
  void start_writeback(std::int64_t offset, std::int64_t bytes);
  void sync();
  /// Closes and reports what close(2) reports (a destructor cannot).
  void close();

 private:
  File(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  int descriptor_ = -1;
  std::string path_;
};

/// Writes PATH.tmp; `commit` makes it PATH. Destroyed without `commit`, it leaves nothing behind.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  AtomicFile(AtomicFile&&) noexcept = default;
  AtomicFile& operator=(AtomicFile&&) = delete;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  File& file() { return file_; }
  void write(std::span<const std::byte> bytes) { file_.write(bytes); }
  void commit();

 private:
  std::string path_;
  File file_;
};

/// Streaming XXH3-64. The digest does not depend on how the bytes were cut into updates.
class Checksum {
 public:
  Checksum();
  Checksum(Checksum&&) noexcept;
  Checksum& operator=(Checksum&&) noexcept;
  ~Checksum();
  void update(std::span<const std::byte> bytes);
  std::uint64_t digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::uint64_t checksum(std::span<const std::byte> bytes);
/// The checksum of a whole file, read in pieces.
std::uint64_t checksum_file(const std::string& path);
/// 16 lower-case hexadecimal digits: how a checksum is written in JSON.
std::string checksum_text(std::uint64_t digest);

/// The whole of a file of at most `limit` bytes. `what` names the kind of file in the message ("a tokenizer model").
std::string read_whole_file(const std::string& path, std::int64_t limit, std::string_view what);
void write_file_atomically(const std::string& path, std::string_view bytes);

/// Bytes that this user may still write to the file system of a folder; nothing where the system does not say.
std::optional<std::int64_t> free_bytes(const std::string& directory);

/// Creates the folder and its parents; nothing happens where it exists.
void make_directories(const std::string& path);
/// Renames (within one file system) and replaces what was there. The folder still needs `sync_directory`.
void rename_path(const std::string& from, const std::string& to);
/// Makes the names in a folder durable.
void sync_directory(const std::string& path);
/// The folder that holds `path` ("." for a bare name).
std::string parent_directory(const std::string& path);

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace bittern
