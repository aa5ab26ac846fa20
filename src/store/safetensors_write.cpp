// safetensors, writing: the header, then the tensors' bytes in large pieces, hashed while they are in the cache. Each
// piece is handed to the disk at once, so that the fsync at the end finds little left to do.
#include <algorithm>
#include <set>

#include "bittern/backend.h"
#include "bittern/error.h"
#include "bittern/safetensors.h"
#include "bittern/strict_json.h"

namespace bittern {
namespace {

constexpr std::size_t piece_bytes = std::size_t{1} << 20;        // copied, hashed and written while in L2
constexpr std::int64_t writeback_bytes = std::int64_t{8} << 20;  // handed to the disk

std::int64_t data_bytes(const NamedTensor& tensor) {
  const auto size = safetensors_dtype_size(tensor.dtype);
  check(size.has_value(), "safetensors: tensor {} has the unknown dtype {}", in_quotes(tensor.name),
        in_quotes(tensor.dtype));
  std::int64_t bytes = *size;
  for (const std::int64_t extent : tensor.shape)
    check(extent >= 0 && !__builtin_mul_overflow(bytes, extent, &bytes), "safetensors: tensor {} is too large",
          in_quotes(tensor.name));
  check(bytes == static_cast<std::int64_t>(tensor.data.size()),
        "safetensors: tensor {} has {} bytes, but its dtype and shape say {}", in_quotes(tensor.name),
        tensor.data.size(), bytes);
  return bytes;
}

// The bytes before the first tensor.
std::string header_of(std::span<const NamedTensor> tensors, const SafetensorsMetadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::int64_t offset = 0;
  std::set<std::string_view> names;
  std::string text = header.dump();
  text.pop_back();
  for (const NamedTensor& tensor : tensors) {
    check(tensor.name != "__metadata__" && names.insert(tensor.name).second,
          "safetensors: the name {} cannot be used twice", in_quotes(tensor.name));
    const std::int64_t end = offset + data_bytes(tensor);
    nlohmann::ordered_json entry;
    entry["dtype"] = tensor.dtype;
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {offset, end};
    if (text.size() > 1) text += ',';
    text += nlohmann::json(tensor.name).dump() + ':' + entry.dump();
    offset = end;
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check(static_cast<std::int64_t>(text.size()) <= safetensors_header_limit,
        "safetensors: a header of {} bytes; expected at most {}", text.size(), safetensors_header_limit);

  const std::uint64_t length = text.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + text;
}

}  // namespace

std::vector<std::int64_t> stored_shape(const Tensor& tensor) {
  std::vector<std::int64_t> shape(tensor.shape.dims.begin(), tensor.shape.dims.begin() + tensor.shape.rank);
  if (is_packed(tensor.dtype) && !shape.empty()) shape.back() = row_bytes(tensor.dtype, tensor.cols());
  return shape;
}

NamedTensor named_tensor(std::string name, const Tensor& tensor, Backend* backend) {
  check(tensor.contiguous(), "safetensors: tensor {} is a part of another one", in_quotes(name));
  return {.name = std::move(name),
          .dtype = std::string(info(tensor.dtype).safetensors),
          .shape = stored_shape(tensor),
          .data = {static_cast<const std::byte*>(tensor.data), static_cast<std::size_t>(tensor.bytes())},
          .backend = backend};
}

std::vector<std::byte> bytes_of(const NamedTensor& tensor) {
  if (tensor.backend == nullptr) return {tensor.data.begin(), tensor.data.end()};
  std::vector<std::byte> bytes(tensor.data.size());
  tensor.backend->to_host(bytes.data(), tensor.data.data(), static_cast<std::int64_t>(bytes.size()));
  return bytes;
}

std::int64_t safetensors_file_bytes(std::span<const NamedTensor> tensors, const SafetensorsMetadata& metadata) {
  auto bytes = static_cast<std::int64_t>(header_of(tensors, metadata).size());
  for (const NamedTensor& tensor : tensors) bytes += static_cast<std::int64_t>(tensor.data.size());
  return bytes;
}

WrittenFile write_safetensors(File& out, std::span<const NamedTensor> tensors, const SafetensorsMetadata& metadata) {
  WrittenFile written;
  Checksum sum;
  std::int64_t handed_over = 0;
  const auto write = [&](std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto piece = bytes.first(std::min(bytes.size(), piece_bytes));
      sum.update(piece);
      out.write(piece);
      written.bytes += static_cast<std::int64_t>(piece.size());
      bytes = bytes.subspan(piece.size());
      if (written.bytes - handed_over >= writeback_bytes) {
        out.start_writeback(handed_over, written.bytes - handed_over);
        handed_over = written.bytes;
      }
    }
  };
  write(as_bytes(header_of(tensors, metadata)));
  std::vector<std::byte> piece;
  for (const NamedTensor& tensor : tensors) {
    if (tensor.backend == nullptr) {
      write(tensor.data);
      continue;
    }
    for (std::size_t first = 0; first < tensor.data.size(); first += piece_bytes) {
      piece.resize(std::min(piece_bytes, tensor.data.size() - first));
      tensor.backend->to_host(piece.data(), tensor.data.data() + first, static_cast<std::int64_t>(piece.size()));
      write(piece);
    }
  }
  written.xxh3 = sum.digest();
  return written;
}

}  // namespace bittern
