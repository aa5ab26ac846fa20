// safetensors, reading: the header is checked line by line; nothing of it is used before it is checked.
#include "bittern/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "base/foreign_format.h"
#include "bittern/error.h"
#include "bittern/strict_json.h"

namespace bittern {
namespace {

using nlohmann::json;
static_assert(std::endian::native == std::endian::little, "the format's numbers are read as they lie in memory");

struct SafetensorsDType {
  std::string_view name;
  std::int64_t size;
};
constexpr std::array<SafetensorsDType, 10> dtypes = {{{"F32", 4},
                                                      {"BF16", 2},
                                                      {"F16", 2},
                                                      {"I32", 4},
                                                      {"I64", 8},
                                                      {"U8", 1},
                                                      {"I8", 1},
                                                      {"F8_E4M3", 1},
                                                      {"F8_E5M2", 1},
                                                      {"BOOL", 1}}};

std::string dtype_names() {
  std::string names;
  for (const SafetensorsDType& row : dtypes) names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

// The field of a tensor's description, or the sentence that says it is missing.
const json& field_of(const json& tensor, const char* key, const std::string& where) {
  if (!tensor.is_object())
    throw input_error("{} is {}; expected an object with dtype, shape and data_offsets; make the file again", where,
                      excerpt(tensor));
  const auto found = tensor.find(key);
  if (found == tensor.end()) throw input_error("{} has no {}; the file is damaged: copy or make it again", where, key);
  return *found;
}

std::vector<std::int64_t> shape_of(const json& tensor, const std::string& where) {
  const json& value = field_of(tensor, "shape", where);
  if (!value.is_array())
    throw input_error("{}.shape is {}; expected a list of whole numbers; make the file again", where, excerpt(value));
  std::vector<std::int64_t> shape;
  for (const json& item : value) {
    const auto size = json_count(item);
    if (!size)
      throw input_error("{}.shape is {}; expected whole numbers from 0 to 2^63-1; make the file again", where,
                        excerpt(value));
    shape.push_back(*size);
  }
  return shape;
}

// elements x size, or nothing when it does not fit into 63 bits.
std::optional<std::int64_t> byte_count(std::span<const std::int64_t> shape, std::int64_t size) {
  for (const std::int64_t extent : shape)
    if (__builtin_mul_overflow(size, extent, &size)) return std::nullopt;
  return size;
}

SafetensorsEntry entry_of(const std::string& name, const json& tensor, std::int64_t data_start, std::int64_t data_bytes,
                          std::string_view file) {
  const std::string where = fmt::format("{}: tensor {}", file, in_quotes(name));
  SafetensorsEntry entry;
  entry.name = name;

  const json& dtype = field_of(tensor, "dtype", where);
  const auto element_size =
      dtype.is_string() ? safetensors_dtype_size(dtype.get_ref<const std::string&>()) : std::nullopt;
  if (!element_size)
    throw input_error("{}.dtype is {}; expected one of {}; convert the file", where, excerpt(dtype), dtype_names());
  entry.dtype = dtype.get<std::string>();

  entry.shape = shape_of(tensor, where);
  const auto expected = byte_count(entry.shape, *element_size);
  if (!expected)
    throw input_error("{}.shape is {}; expected a tensor of less than 2^63 bytes; make the file again", where,
                      excerpt(tensor.at("shape")));

  const json& offsets = field_of(tensor, "data_offsets", where);
  const bool is_pair = offsets.is_array() && offsets.size() == 2;
  const auto begin = is_pair ? json_count(offsets[0]) : std::nullopt;
  const auto end = is_pair ? json_count(offsets[1]) : std::nullopt;
  if (!begin || !end || *begin > *end || *end > data_bytes)
    throw input_error(
        "{}.data_offsets is {}; expected [begin, end] with begin <= end <= {}, the bytes that follow the header; the "
        "file is truncated or damaged: copy it again",
        where, excerpt(offsets), data_bytes);
  entry.offset = data_start + *begin;
  entry.bytes = *end - *begin;
  if (entry.bytes != *expected)
    throw input_error(
        "{}.data_offsets is {}, which is {} bytes; expected {} for dtype {} and shape {}; the file is damaged: copy or "
        "make it again",
        where, excerpt(offsets), entry.bytes, *expected, entry.dtype, excerpt(tensor.at("shape")));
  return entry;
}

SafetensorsMetadata metadata_of(const json& value, std::string_view file) {
  SafetensorsMetadata metadata;
  bool good = value.is_object();
  if (good)
    for (const auto& [key, text] : value.items()) {
      good = good && text.is_string();
      if (good) metadata[key] = text.get<std::string>();
    }
  if (!good)
    throw input_error("{}: __metadata__ is {}; expected an object of strings; make the file again", file,
                      excerpt(value));
  return metadata;
}

}  // namespace

std::optional<std::int64_t> safetensors_dtype_size(std::string_view dtype) {
  for (const SafetensorsDType& row : dtypes)
    if (row.name == dtype) return row.size;
  return std::nullopt;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, std::int64_t file_bytes, std::string_view file) {
  if (text.empty() || text.front() != '{')
    throw input_error("{}: header does not start with '{{'; expected a safetensors file; check the path", file);
  const json header = parse_strict_json(text, fmt::format("{}: header", file));
  const std::int64_t data_start = 8 + static_cast<std::int64_t>(text.size());
  const std::int64_t data_bytes = file_bytes - data_start;
  check(data_bytes >= 0, "{}: a header of {} bytes in a file of {}", file, text.size(), file_bytes);

  SafetensorsHeader result;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__")
      result.metadata = metadata_of(value, file);
    else
      result.tensors.push_back(entry_of(name, value, data_start, data_bytes, file));
  }

  // Every byte belongs to exactly one tensor: sorted by place, each begins where the one before it ends. (Empty tensors
  // take no bytes and may lie on any border.)
  std::sort(result.tensors.begin(), result.tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  std::int64_t end = data_start;
  for (const SafetensorsEntry& tensor : result.tensors) {
    if (tensor.offset < end)
      throw input_error(
          "{}: tensor {}.data_offsets begins at {}, inside the tensor before it, which ends at {}; expected "
          "tensors that do not overlap; make the file again",
          file, in_quotes(tensor.name), tensor.offset - data_start, end - data_start);
    if (tensor.offset > end)
      throw input_error(
          "{}: tensor {}.data_offsets begins at {}, but the tensor before it ends at {}; expected no gaps; "
          "make the file again",
          file, in_quotes(tensor.name), tensor.offset - data_start, end - data_start);
    end = tensor.offset + tensor.bytes;
  }
  if (end != file_bytes)
    throw input_error(
        "{}: has {} bytes after its last tensor; expected none; the file is damaged: copy or make it again", file,
        file_bytes - end);
  return result;
}

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  SafetensorsFile result;
  result.file_ = File::open(path);
  const std::int64_t file_bytes = result.file_.size();
  std::string front(64, '\0');
  front.resize(static_cast<std::size_t>(result.file_.read_some(0, std::as_writable_bytes(std::span(front)))));
  if (const auto foreign = foreign_format(front))
    throw input_error("{}: is {}; {}", path, foreign->name, foreign->advice);
  if (file_bytes < 8)
    throw input_error("{}: has {} bytes; expected a safetensors file, which has at least 8; copy or make it again",
                      path, file_bytes);
  std::array<std::byte, 8> prefix;
  result.file_.read(0, prefix);
  std::uint64_t length;
  std::memcpy(&length, prefix.data(), sizeof length);
  const std::int64_t limit = std::min(file_bytes - 8, safetensors_header_limit);
  if (length > static_cast<std::uint64_t>(limit))
    throw input_error(
        "{}: header length is {}; expected at most {} (the file has {} bytes); the file is truncated or not "
        "safetensors: check the path, copy it again",
        path, length, limit, file_bytes);

  std::string header(static_cast<std::size_t>(length), '\0');
  result.file_.read(8, std::as_writable_bytes(std::span(header)));
  result.header_ = parse_safetensors_header(header, file_bytes, path);
  for (std::size_t i = 0; i < result.header_.tensors.size(); ++i) result.index_[result.header_.tensors[i].name] = i;
  return result;
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.tensors[found->second];
}

void SafetensorsFile::read(std::string_view name, std::span<std::byte> out) const {
  const SafetensorsEntry* tensor = find(name);
  if (!tensor)
    throw input_error("{}: has no tensor {}; expected it; the file belongs to another model", path(), in_quotes(name));
  if (static_cast<std::int64_t>(out.size()) != tensor->bytes)
    throw input_error("{}: tensor {} has {} bytes; expected {}; the file belongs to another model", path(),
                      in_quotes(name), tensor->bytes, out.size());
  read_part(*tensor, 0, out);
}

void SafetensorsFile::read_part(const SafetensorsEntry& tensor, std::int64_t first, std::span<std::byte> out) const {
  const auto count = static_cast<std::int64_t>(out.size());
  check(first >= 0 && count <= tensor.bytes && first <= tensor.bytes - count,
        "{}: tensor {} has {} bytes; {} were asked for from {} on", path(), in_quotes(tensor.name), tensor.bytes, count,
        first);
  file_.read(tensor.offset + first, out);
}

}  // namespace bittern
