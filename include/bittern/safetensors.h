// safetensors: the file format of tensors that everybody reads (docs/formats.md).
//
//   u64 little-endian: bytes of the header | header: a JSON object, padded with spaces | the tensors' bytes, no gaps
//   {"__metadata__": {"format": "pt"}, "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
//
// A reader believes nothing: every number is bounded before it is used, and every byte of the file must belong to
// exactly one tensor. After `open`, a tensor's place and size can be relied on; reading it is one pread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/file.h"
#include "bittern/tensor.h"

namespace bittern {

class Backend;

/// Bytes per element of a dtype as the format names it; nothing for one that bittern does not know.
std::optional<std::int64_t> safetensors_dtype_size(std::string_view dtype);

/// One tensor in a file.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  ///< the format's name for it: "F32", "BF16", "F8_E4M3", ...
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;  ///< from the start of the file
  std::int64_t bytes = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  ///< in the order in which they lie in the file
  std::map<std::string, std::string> metadata;
};

/// The largest header that is read: 100 MB, as in the format's own library.
inline constexpr std::int64_t safetensors_header_limit = 100'000'000;

/// Checks and unpacks the JSON of a header that starts at byte 8 of a file of `file_bytes` bytes. `file` is for
/// messages.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::int64_t file_bytes, std::string_view file);

/// A file open for reading. Reads are safe from many threads at once.
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::vector<SafetensorsEntry>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const SafetensorsEntry* find(std::string_view name) const;  ///< null when there is none

  /// Fills `out`, which has exactly the tensor's size.
  void read(std::string_view name, std::span<std::byte> out) const;
  /// Fills `out` with the tensor's bytes from `first` on.
  void read_part(const SafetensorsEntry& tensor, std::int64_t first, std::span<std::byte> out) const;

 private:
  File file_;
  SafetensorsHeader header_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

/// The weights of a folder: its model.safetensors, or else the files that its model.safetensors.index.json names.
class SafetensorsFolder {
 public:
  static SafetensorsFolder open(const std::string& directory);

  const std::string& directory() const { return directory_; }
  const std::vector<SafetensorsEntry>& tensors() const { return tensors_; }
  const SafetensorsEntry* find(std::string_view name) const;
  void read(std::string_view name, std::span<std::byte> out) const;
  void read_part(const SafetensorsEntry& tensor, std::int64_t first, std::span<std::byte> out) const;
  /// The file that holds the tensor.
  const std::string& file_of(const SafetensorsEntry& tensor) const;

 private:
  struct Place {
    std::size_t tensor, file;
  };
  std::string directory_;
  std::vector<SafetensorsFile> files_;
  std::vector<SafetensorsEntry> tensors_;
  std::map<std::string, Place, std::less<>> index_;
};

/// True for a name that stays in its folder: not empty, no separator, not "." or "..", at most 255 bytes, printable.
bool is_plain_file_name(std::string_view name);

/// A tensor to be written: a view of bytes that somebody else owns.
struct NamedTensor {
  std::string name;
  std::string dtype;  ///< the format's name for it
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
  Backend* backend = nullptr;  ///< `data` is an address in this back end's memory; null: in the host's
};
/// The shape that a tensor has in a file: packed elements are rows of bytes.
std::vector<std::int64_t> stored_shape(const Tensor& tensor);
/// The view of a contiguous tensor, without its scales. `backend`: where the tensor lies in device memory.
NamedTensor named_tensor(std::string name, const Tensor& tensor, Backend* backend = nullptr);
/// A copy of the tensor's bytes, wherever they are.
std::vector<std::byte> bytes_of(const NamedTensor& tensor);

struct WrittenFile {
  std::int64_t bytes = 0;
  std::uint64_t xxh3 = 0;
};

using SafetensorsMetadata = std::map<std::string, std::string>;
/// What `transformers` wants to see.
inline const SafetensorsMetadata pytorch_metadata = {{"format", "pt"}};

/// The size of the file that `write_safetensors` makes.
std::int64_t safetensors_file_bytes(std::span<const NamedTensor> tensors,
                                    const SafetensorsMetadata& metadata = pytorch_metadata);

/// Appends a whole file, tensors in the order given, to `out`; the bytes are a function of the arguments alone. What
/// lies in device memory is copied to the host a small piece at a time.
/// Neither fsyncs nor closes.
WrittenFile write_safetensors(File& out, std::span<const NamedTensor> tensors,
                              const SafetensorsMetadata& metadata = pytorch_metadata);

}  // namespace bittern
