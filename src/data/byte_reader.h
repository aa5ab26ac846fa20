// ByteReader: the bytes of a file, decompressed if it is gzip or zstd (told by its first bytes), read front to back.
// Internal to src/data.
//
// Several gzip members or zstd frames in a row are one text. A file that ends inside a member, or is damaged, is an
// input_error that says at which byte. Memory is bounded by the formats' windows: 32 KiB for gzip; for zstd what the file was
// made with, 8 MiB as a rule, and up to 2 GiB after `zstd --long=31`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace bittern {

enum class Compression : std::uint8_t { none, gzip, zstd };
/// By the first four bytes of a file.
Compression compression_of(std::string_view front);

class ByteReader {
 public:
  explicit ByteReader(const std::string& path);
  ByteReader(ByteReader&&) noexcept;
  ~ByteReader();

  /// Fills `out` as far as there are bytes; fewer than asked only at the end.
  std::size_t read(std::span<char> out);
  /// How many bytes of the file itself have been taken, and its size: for progress.
  std::int64_t consumed() const;
  std::int64_t size() const;

 private:
  struct Source;
  struct Plain;
  struct Gzip;
  struct Zstd;
  std::unique_ptr<Source> source_;
};

}  // namespace bittern
