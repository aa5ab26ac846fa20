// Encodes, checks and writes token shards (.bin; the bytes are in shard.h). The writer begins a new shard when the
// current one is full.
#include "data/shard.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "bittern/error.h"

namespace bittern {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian and are read as they are");

constexpr char magic[] = "BTNTOKEN";
constexpr std::uint32_t version = 1;
constexpr std::size_t buffer_bytes = std::size_t{1} << 20;
// A shard also ends here, so that the table of documents kept until then stays below 32 MiB.
constexpr std::size_t most_documents = std::size_t{4} << 20;

template <typename T>
void put_field(std::vector<std::byte>& bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}
template <typename T>
T get_field(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::int64_t padded(std::int64_t bytes) {
  return (bytes + 7) / 8 * 8;
}

}  // namespace

std::uint32_t bytes_per_id(std::int64_t vocab_size) {
  return vocab_size <= 65536 ? 2 : 4;
}

std::vector<std::byte> encode_shard_header(const ShardHeader& header) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(shard_header_bytes));
  std::memcpy(bytes.data(), magic, 8);
  put_field(bytes, 8, version);
  put_field(bytes, 12, header.bytes_per_id);
  put_field(bytes, 16, header.tokens);
  put_field(bytes, 24, header.documents);
  put_field(bytes, 32, header.vocab_size);
  put_field(bytes, 36, header.eos);
  put_field(bytes, 40, header.checksum);
  put_field(bytes, 56, checksum(std::span(bytes).first(56)));
  return bytes;
}

bool is_shard(const File& file) {
  std::byte front[8];
  return file.read_some(0, front) == 8 && std::memcmp(front, magic, 8) == 0;
}

ShardHeader read_shard_header(const File& file) {
  const std::string& path = file.path();
  const std::int64_t size = file.size();
  if (size < shard_header_bytes)
    throw input_error("{}: has {} bytes; expected a header of {}; the file is truncated, run `bittern prepare` again",
                      path, size, shard_header_bytes);
  std::vector<std::byte> bytes(static_cast<std::size_t>(shard_header_bytes));
  file.read(0, bytes);
  if (std::memcmp(bytes.data(), magic, 8) != 0)
    throw input_error("{}: is not a token shard made by `bittern prepare`; check the path", path);
  if (const auto found = get_field<std::uint32_t>(bytes, 8); found != version)
    throw input_error("{}: version is {}; this program reads version {}; run `bittern prepare` again", path, found,
                      version);
  if (get_field<std::uint64_t>(bytes, 56) != checksum(std::span(bytes).first(56)))
    throw input_error("{}: the header's checksum does not match; the file is damaged, run `bittern prepare` again",
                      path);
  ShardHeader header;
  header.bytes_per_id = get_field<std::uint32_t>(bytes, 12);
  header.tokens = get_field<std::int64_t>(bytes, 16);
  header.documents = get_field<std::int64_t>(bytes, 24);
  header.vocab_size = get_field<std::uint32_t>(bytes, 32);
  header.eos = get_field<std::int32_t>(bytes, 36);
  header.checksum = get_field<std::uint64_t>(bytes, 40);
  const bool sound = (header.bytes_per_id == 2 || header.bytes_per_id == 4) && header.vocab_size >= 1 &&
                     header.vocab_size <= INT32_MAX && header.eos >= -1 &&
                     header.eos < static_cast<std::int64_t>(header.vocab_size) && header.tokens >= 0 &&
                     header.documents >= 0 && header.documents <= header.tokens;
  // Both bounds keep the sum below far from overflow.
  if (!sound || header.tokens > size || header.documents > size ||
      shard_header_bytes + padded(header.tokens * header.bytes_per_id) + 8 * header.documents != size)
    throw input_error(
        "{}: the header says {} tokens of {} bytes and {} documents, which does not fit a file of {} bytes; "
        "the file is damaged, run `bittern prepare` again",
        path, header.tokens, header.bytes_per_id, header.documents, size);
  return header;
}

ShardWriter::ShardWriter(std::string folder, std::string name, std::int64_t vocab_size, std::int32_t eos,
                         std::int64_t shard_tokens)
    : folder_(std::move(folder)), name_(std::move(name)), shard_tokens_(shard_tokens) {
  header_.bytes_per_id = bytes_per_id(vocab_size);
  header_.vocab_size = static_cast<std::uint32_t>(vocab_size);
  header_.eos = eos;
}

void ShardWriter::append(std::span<const std::int32_t> ids) {
  if (ids.empty()) return;
  if (!document_open_) {
    document_open_ = true;
    ++documents_;
    if (header_.tokens >= shard_tokens_ || starts_.size() >= most_documents) close_shard();
    starts_.push_back(static_cast<std::uint64_t>(header_.tokens));
  }
  put(ids);
}

void ShardWriter::end_document() {
  if (!document_open_) return;
  put(std::span(&header_.eos, 1));
  document_open_ = false;
}

void ShardWriter::put(std::span<const std::int32_t> ids) {
  while (!ids.empty()) {
    if (header_.tokens >= shard_tokens_) close_shard();
    if (!file_.is_open()) {
      file_ = File::create(fmt::format("{}/{}_{:05}.bin", folder_, name_, shards_.size()));
      file_.write(encode_shard_header(header_));  // in its place again, with the counts, when the shard is closed
    }
    const std::size_t room = static_cast<std::size_t>(shard_tokens_ - header_.tokens);
    const std::span<const std::int32_t> now = ids.first(std::min({ids.size(), room, buffer_bytes}));
    const std::size_t width = header_.bytes_per_id, at = buffer_.size();
    buffer_.resize(at + now.size() * width);
    for (std::size_t i = 0; i < now.size(); ++i) std::memcpy(buffer_.data() + at + i * width, &now[i], width);
    header_.tokens += static_cast<std::int64_t>(now.size());
    tokens_ += static_cast<std::int64_t>(now.size());
    if (buffer_.size() >= buffer_bytes) flush();
    ids = ids.subspan(now.size());
  }
}

void ShardWriter::flush() {
  checksum_.update(buffer_);
  file_.write(buffer_);
  buffer_.clear();
}

void ShardWriter::close_shard() {
  if (!file_.is_open()) return;
  buffer_.resize(buffer_.size() + static_cast<std::size_t>(padded(header_.tokens * header_.bytes_per_id) -
                                                           header_.tokens * header_.bytes_per_id));
  const auto table = std::as_bytes(std::span(starts_));
  buffer_.insert(buffer_.end(), table.begin(), table.end());
  flush();
  header_.documents = static_cast<std::int64_t>(starts_.size());
  header_.checksum = checksum_.digest();
  file_.write_at(0, encode_shard_header(header_));
  file_.sync();
  shards_.push_back({.file = fmt::format("{}_{:05}.bin", name_, shards_.size()),
                     .tokens = header_.tokens,
                     .documents = header_.documents,
                     .bytes = file_.size(),
                     .checksum = header_.checksum});
  file_.close();
  checksum_ = Checksum();
  starts_.clear();
  header_.tokens = 0;
  header_.documents = 0;
  header_.checksum = 0;
}

const std::vector<ShardWriter::Shard>& ShardWriter::finish() {
  end_document();
  close_shard();
  return shards_;
}

}  // namespace bittern
